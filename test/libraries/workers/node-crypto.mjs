import { createHmac, pbkdf2, scrypt, webcrypto } from "node:crypto";
import { promisify } from "node:util";
import { Library } from "../library.mjs";

export class Crypto extends Library {
  static package = "node";

  async use(n) {
    const scrypted = await promisify(scrypt)(`p${n}`, "salt", 16);
    const derived = await promisify(pbkdf2)(`p${n}`, "salt", 1000, 16, "sha256");
    const hashed = await webcrypto.subtle.digest("SHA-256", Buffer.from(`${n}`));
    const signed = createHmac("sha1", "key").update(`${n}`).digest("hex");
    return [scrypted, derived, hashed]
      .map((each) => Buffer.from(each).toString("hex"))
      .concat(signed);
  }
}
