import babel from "@babel/core";
import { Library } from "../library.mjs";

export class Babel extends Library {
  static package = "@babel/core";

  async use(n) {
    const { code } = await babel.transformAsync(`const x = a?.b ?? ${n};`, {
      configFile: false,
      babelrc: false,
    });
    return code;
  }
}
