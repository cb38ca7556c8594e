/** JSON with sorted keys: equal values give equal bytes, even in a worker that has replaced `JSON`. */
import stable from "fast-json-stable-stringify";
import { parse, stringify } from "../system/json.js";

/** fast-json-stable-stringify reads the global `JSON` at each call; this is the original. */
const OURS = Object.freeze({ parse, stringify }) as JSON;

/** @throws TypeError for a value that contains itself */
export function stableStringify(value: unknown): string {
  const theirs = globalThis.JSON as JSON | undefined;
  if (theirs?.stringify === stringify) return stable(value);
  globalThis.JSON = OURS;
  try {
    return stable(value);
  } finally {
    globalThis.JSON = theirs!;
  }
}
