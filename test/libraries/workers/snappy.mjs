import snappy from "snappy";
import { Library, digest } from "../library.mjs";

export class Snappy extends Library {
  async use(n) {
    const packed = await snappy.compress(`text ${n} `.repeat(100));
    return [digest(packed), digest(await snappy.uncompress(packed))];
  }
}
