import { produce } from "immer";
import { Library } from "../library.mjs";

export class Immer extends Library {
  use(n) {
    return produce({ a: { b: [1] } }, (draft) => void draft.a.b.push(n));
  }
}
