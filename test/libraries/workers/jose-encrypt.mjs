import { EncryptJWT } from "jose";
import { Library } from "../library.mjs";

const secret = Buffer.alloc(32, 7);

export class Encrypt extends Library {
  static package = "jose";
  static ids = true;

  async use(n) {
    return await new EncryptJWT({ n })
      .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
      .encrypt(secret);
  }
}
