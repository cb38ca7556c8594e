import { promisify } from "node:util";
import zlib from "node:zlib";
import { Library } from "../library.mjs";

export class Zlib extends Library {
  static package = "node";

  async use(n) {
    const text = Array.from({ length: 20_000 }, (_, i) => i * n).join();
    const [gzip, brotli] = await Promise.all([
      promisify(zlib.gzip)(text),
      promisify(zlib.brotliCompress)(text, {
        params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 },
      }),
    ]);
    return [gzip.length, brotli.length, zlib.gunzipSync(gzip).toString() === text];
  }
}
