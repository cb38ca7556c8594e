import ts from "typescript";
import { Library } from "../library.mjs";

export class TypeScript extends Library {
  use(n) {
    return ts.transpileModule(`enum E { A = ${n} } const x: E = E.A`, {}).outputText;
  }
}
