import { buffer } from "node:stream/consumers";
import PdfDocument from "pdfkit";
import { Library, digest } from "../library.mjs";

export class PdfKit extends Library {
  async use(n) {
    const document = new PdfDocument({ info: { CreationDate: new Date(0) } });
    document.text(`Item ${n}`).end();
    const bytes = await buffer(document);
    return [bytes.length, digest(bytes)];
  }
}
