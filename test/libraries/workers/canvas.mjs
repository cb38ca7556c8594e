import { createCanvas } from "@napi-rs/canvas";
import { Library, digest } from "../library.mjs";

export class Canvas extends Library {
  static package = "@napi-rs/canvas";

  use(n) {
    const canvas = createCanvas(40, 30);
    const context = canvas.getContext("2d");
    context.fillStyle = `rgb(${n}, 20, 30)`;
    context.fillRect(n, 2, 10, 10);
    return digest(context.getImageData(0, 0, 40, 30).data);
  }
}
