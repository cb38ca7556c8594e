import { parse } from "csv-parse/sync";
import { Library } from "../library.mjs";

export class CsvParse extends Library {
  use(n) {
    return parse(`a,b\n${n},"x,${n}"`, { columns: true });
  }
}
