import { evaluate } from "mathjs";
import { Library } from "../library.mjs";

export class MathJs extends Library {
  use(n) {
    return evaluate(`det([${n}, 2; 3, 4]) + sqrt(${n}) * 2 cm / (1 inch)`).toString();
  }
}
