import iconv from "iconv-lite";
import { Library } from "../library.mjs";

export class Iconv extends Library {
  use(n) {
    return [
      iconv.encode(`äöü ${n}`, "win1252").toString("hex"),
      iconv.decode(Buffer.of(0x82, 0xa0), "shift_jis"),
    ];
  }
}
