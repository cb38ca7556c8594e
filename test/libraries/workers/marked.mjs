import { marked } from "marked";
import { Library } from "../library.mjs";

export class Marked extends Library {
  async use(n) {
    return await marked(`# Item ${n}\n\n- a\n- **b**`);
  }
}
