import { decode, encode } from "@msgpack/msgpack";
import { Library } from "../library.mjs";

export class Msgpack extends Library {
  static package = "@msgpack/msgpack";

  use(n) {
    return decode(encode({ n, list: [n, `${n}`, n / 3] }));
  }
}
