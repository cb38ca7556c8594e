import * as sass from "sass";
import { Library } from "../library.mjs";

export class Sass extends Library {
  async use(n) {
    return (await sass.compileStringAsync(`$x: ${n}px; a { b { margin: $x * 2 } }`)).css;
  }
}
