import { transform } from "lightningcss";
import { Library } from "../library.mjs";

export class LightningCss extends Library {
  use(n) {
    const css = Buffer.from(`a { width: calc(${n}px + 1px); &:hover { color: rgb(1 2 3) } }`);
    return transform({ filename: "a.css", code: css, minify: true }).code.toString();
  }
}
