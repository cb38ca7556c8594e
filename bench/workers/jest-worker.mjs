/** The module that jest-worker runs. */
import { work } from "./work.mjs";

export function run(kind, item) {
  return work[kind](item);
}
