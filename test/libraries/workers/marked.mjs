import { marked } from "marked";
import { Library } from "../library.mjs";

export class Marked extends Library {
  use(n) {
    return marked(`# Item ${n}\n\n- a\n- **b**`);
  }
}
