import qrcode from "qrcode";
import { Library, digest } from "../library.mjs";

export class QrCode extends Library {
  async use(n) {
    return digest(await qrcode.toBuffer(`item ${n}`));
  }
}
