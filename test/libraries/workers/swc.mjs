import swc from "@swc/core";
import { Library } from "../library.mjs";

export class Swc extends Library {
  static package = "@swc/core";

  async use(n) {
    const { code } = await swc.transform(`const x: number = ${n}; export default x`, {
      jsc: { parser: { syntax: "typescript" } },
    });
    return code;
  }
}
