import bcrypt from "bcrypt";
import { Library } from "../library.mjs";

export class Bcrypt extends Library {
  async use(n) {
    return await bcrypt.hash(`password ${n}`, `$2b$04$${"a".repeat(22)}`);
  }
}
