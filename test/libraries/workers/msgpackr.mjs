import { pack, unpack } from "msgpackr";
import { Library } from "../library.mjs";

export class Msgpackr extends Library {
  use(n) {
    return unpack(pack({ n, list: [n, `${n}`, n / 3] }));
  }
}
