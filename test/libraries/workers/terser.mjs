import { minify } from "terser";
import { Library } from "../library.mjs";

export class Terser extends Library {
  async use(n) {
    const { code } = await minify(
      `function double(number) { return number * 2 } console.log(double(${n}))`,
    );
    return code;
  }
}
