import { parseSync } from "oxc-parser";
import { Library } from "../library.mjs";

export class Oxc extends Library {
  use(n) {
    return JSON.stringify(parseSync("a.ts", `const x: number = ${n}`).program);
  }
}
