import { get_encoding } from "tiktoken";
import { Library } from "../library.mjs";

export class Tiktoken extends Library {
  use(n) {
    const encoding = get_encoding("cl100k_base");
    const tokens = [...encoding.encode(`the tokens of item ${n}`)];
    encoding.free();
    return tokens;
  }
}
