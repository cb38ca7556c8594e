import {
  generateKeyPairSync,
  getRandomValues,
  randomBytes,
  randomFillSync,
  randomInt,
  randomUUID,
} from "node:crypto";
import { Library } from "../library.mjs";

export class Random extends Library {
  static package = "node";
  static ids = true;

  use() {
    return [
      randomUUID(),
      randomBytes(16).toString("hex"),
      Buffer.from(getRandomValues(new Uint8Array(16))).toString("hex"),
      randomFillSync(Buffer.alloc(16)).toString("hex"),
      Math.random(),
      randomInt(2 ** 47),
      generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x,
      crypto.randomUUID(),
    ];
  }
}
