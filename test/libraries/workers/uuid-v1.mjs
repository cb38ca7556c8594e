import { v1 } from "uuid";
import { Library } from "../library.mjs";

export class UuidV1 extends Library {
  static package = "uuid";
  static ids = true;

  use() {
    return v1();
  }
}
