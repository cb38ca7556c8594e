import { createId } from "@paralleldrive/cuid2";
import { Library } from "../library.mjs";

export class Cuid2 extends Library {
  static package = "@paralleldrive/cuid2";
  static ids = true;

  use() {
    return createId();
  }
}
