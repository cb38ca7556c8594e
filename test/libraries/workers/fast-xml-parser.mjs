import { XMLParser } from "fast-xml-parser";
import { Library } from "../library.mjs";

export class FastXml extends Library {
  use(n) {
    return new XMLParser({ ignoreAttributes: false }).parse(`<a x="${n}"><b>${n}</b><b/></a>`);
  }
}
