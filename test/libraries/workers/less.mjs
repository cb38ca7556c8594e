import less from "less";
import { Library } from "../library.mjs";

export class Less extends Library {
  async use(n) {
    return (await less.render(`@x: ${n}px; a { b { margin: @x * 2 } }`)).css;
  }
}
