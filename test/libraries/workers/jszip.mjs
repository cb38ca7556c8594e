import JsZip from "jszip";
import { Library, digest } from "../library.mjs";

export class Zip extends Library {
  async use(n) {
    const zip = new JsZip().file("a.txt", `item ${n} `.repeat(50), { date: new Date(0) });
    const bytes = await zip.generateAsync({ type: "nodebuffer", compression: "DEFLATE" });
    return [
      digest(bytes),
      digest(await (await JsZip.loadAsync(bytes)).file("a.txt").async("text")),
    ];
  }
}
