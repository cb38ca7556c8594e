import { genSaltSync } from "bcrypt";
import { Library } from "../library.mjs";

export class Salt extends Library {
  static package = "bcrypt";
  static ids = true;

  use() {
    return genSaltSync(4);
  }
}
