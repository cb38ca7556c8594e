import { parse } from "acorn";
import { Library } from "../library.mjs";

export class Acorn extends Library {
  use(n) {
    return JSON.stringify(parse(`let x = ${n} ** 2`, { ecmaVersion: 2022 }));
  }
}
