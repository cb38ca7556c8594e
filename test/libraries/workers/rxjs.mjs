import { concatMap, interval, lastValueFrom, map, of, take, toArray } from "rxjs";
import { Library } from "../library.mjs";

export class Rxjs extends Library {
  async use(n) {
    const numbers = interval(1).pipe(
      take(3),
      concatMap((i) => of(i).pipe(map((each) => each * n))),
    );
    return await lastValueFrom(numbers.pipe(toArray()));
  }
}
