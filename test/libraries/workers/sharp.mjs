import sharp from "sharp";
import { Library, digest } from "../library.mjs";

export class Sharp extends Library {
  async use(n) {
    const { data } = await sharp({
      create: { width: 40, height: 30, channels: 3, background: { r: n, g: 2, b: 3 } },
    })
      .rotate(30)
      .png()
      .toBuffer({ resolveWithObject: true });
    return digest(data);
  }
}
