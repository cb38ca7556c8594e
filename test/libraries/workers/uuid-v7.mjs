import { v7 } from "uuid";
import { Library } from "../library.mjs";

export class UuidV7 extends Library {
  static package = "uuid";
  static ids = true;

  use() {
    return v7();
  }
}
