import { PDFDocument } from "pdf-lib";
import { Library, digest } from "../library.mjs";

export class PdfLib extends Library {
  async use(n) {
    const document = await PDFDocument.create({ updateMetadata: false });
    document.addPage([100, 100]).drawText(`Item ${n}`);
    return digest(await document.save());
  }
}
