import papa from "papaparse";
import { Library } from "../library.mjs";

export class PapaParse extends Library {
  use(n) {
    return papa.parse(`a,b\n${n},"x,${n}"`, { header: true, dynamicTyping: true }).data;
  }
}
