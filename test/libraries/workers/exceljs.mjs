import ExcelJs from "exceljs";
import { Library } from "../library.mjs";

export class Excel extends Library {
  async use(n) {
    const book = new ExcelJs.Workbook();
    book.addWorksheet("a").addRow([n, `text ${n}`]);
    const read = new ExcelJs.Workbook();
    await read.xlsx.load(await book.xlsx.writeBuffer());
    return read.getWorksheet("a").getRow(1).values.slice(1);
  }
}
