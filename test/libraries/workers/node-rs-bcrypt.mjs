import { hash } from "@node-rs/bcrypt";
import { Library } from "../library.mjs";

export class BcryptRust extends Library {
  static package = "@node-rs/bcrypt";

  async use(n) {
    return await hash(`password ${n}`, 4, Buffer.alloc(16, 1));
  }
}
