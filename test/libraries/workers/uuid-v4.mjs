import { v4 } from "uuid";
import { Library } from "../library.mjs";

export class UuidV4 extends Library {
  static package = "uuid";
  static ids = true;

  use() {
    return v4();
  }
}
