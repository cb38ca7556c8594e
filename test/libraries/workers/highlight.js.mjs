import highlight from "highlight.js";
import { Library } from "../library.mjs";

export class Highlight extends Library {
  use(n) {
    return highlight.highlight(`const x = ${n};`, { language: "javascript" }).value;
  }
}
