import prettier from "prettier";
import { Library } from "../library.mjs";

export class Prettier extends Library {
  async use(n) {
    return await prettier.format(`const  x={a:${n}}`, { parser: "babel" });
  }
}
