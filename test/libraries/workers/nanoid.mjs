import { nanoid } from "nanoid";
import { Library } from "../library.mjs";

export class Nanoid extends Library {
  static ids = true;

  use() {
    return nanoid();
  }
}
