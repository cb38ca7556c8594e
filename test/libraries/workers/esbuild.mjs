import esbuild from "esbuild";
import { Library } from "../library.mjs";

export class Esbuild extends Library {
  async use(n) {
    const { code } = await esbuild.transform(`const x: number = ${n}`, { loader: "ts" });
    return code;
  }
}
