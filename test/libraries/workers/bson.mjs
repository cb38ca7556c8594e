import { ObjectId } from "bson";
import { Library } from "../library.mjs";

export class ObjectIds extends Library {
  static ids = true;

  use() {
    return new ObjectId().toHexString();
  }
}
