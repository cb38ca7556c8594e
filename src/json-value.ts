/** What JSON can carry: it makes `null` of NaN and `{}` of a Map without a word, and that must not happen silently. */
import { describe } from "./describe.js";

/** What keeps a value from being the same after JSON, or `undefined`. A value with `toJSON` says itself what it is. */
export function jsonProblem(
  value: unknown,
  at = "",
  above: readonly object[] = [],
): string | undefined {
  const place = at === "" ? "it" : `\`${at.slice(1)}\``;
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined;
    case "number":
      return Number.isFinite(value) ? undefined : `${place} is ${value}`;
    case "object":
      break;
    default:
      return `${place} is ${describe(value)}`;
  }
  if (value === null || typeof (value as { toJSON?: unknown }).toJSON === "function")
    return undefined;
  if (above.includes(value)) return `${place} contains itself`;
  const within = [...above, value];
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i += 1) {
      const problem = jsonProblem(value[i], `${at}.${i}`, within);
      if (problem) return problem;
    }
    return undefined;
  }
  if (NOT_JSON.some((type) => value instanceof type) || ArrayBuffer.isView(value)) {
    return `${place} is ${describe(value)}`;
  }
  for (const [key, member] of Object.entries(value)) {
    // JSON leaves such a property out, which is what code that sets it means.
    if (member === undefined) continue;
    const problem = jsonProblem(member, `${at}.${key}`, within);
    if (problem) return problem;
  }
  return undefined;
}

/** JSON makes `{}` of these without a word. */
const NOT_JSON = [Map, Set, WeakMap, WeakSet, Promise, RegExp, Error, ArrayBuffer] as const;
