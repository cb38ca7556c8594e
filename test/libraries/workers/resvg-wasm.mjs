import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Resvg, initWasm } from "@resvg/resvg-wasm";
import { Library, digest } from "../library.mjs";

const file = createRequire(import.meta.url).resolve("@resvg/resvg-wasm/index_bg.wasm");
const isReady = initWasm(readFileSync(file));

export class RenderSvg extends Library {
  static package = "@resvg/resvg-wasm";

  async use(n) {
    await isReady;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><circle cx="${n}" cy="9" r="8"/></svg>`;
    return digest(new Resvg(svg).render().asPng());
  }
}
