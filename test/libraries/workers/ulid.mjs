import { ulid } from "ulid";
import { Library } from "../library.mjs";

export class Ulid extends Library {
  static ids = true;

  use() {
    return ulid();
  }
}
