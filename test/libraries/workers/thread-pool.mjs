import { scrypt } from "node:crypto";
import { promisify } from "node:util";
import { Library } from "../library.mjs";

/** Still being computed when loading is done. */
const key = promisify(scrypt)("secret", "salt", 32, { N: 131_072, maxmem: 1e9 });

export class AwaitKey extends Library {
  static package = "node";
  static usedAtTopLevel = true;

  async use(n) {
    return `${n} ${(await key).toString("hex").slice(0, 8)}`;
  }
}
