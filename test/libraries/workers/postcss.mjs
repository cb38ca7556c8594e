import postcss from "postcss";
import { Library } from "../library.mjs";

export class Postcss extends Library {
  async use(n) {
    const plugin = { postcssPlugin: "add", Once: (root) => root.append({ selector: `.a${n}` }) };
    const { css } = await postcss([plugin]).process(`a { margin: ${n}px }`, { from: undefined });
    return css;
  }
}
