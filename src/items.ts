/** The items of a call: any Iterable or AsyncIterable, pulled one at a time, each checked to be what JSON can carry. */
import { describe } from "./describe.js";
import { writeJson, writeText } from "./payload.js";
import type { Payload } from "./protocol.js";

/** An item travels in its line up to so many characters; a longer one is a scratch file, so that lines stay short. */
const INLINE_LIMIT = 8 * 1024;

/**
 * An iterator over the items.
 *
 * @throws TypeError when `items` is no collection
 */
export function iterate<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
): Iterator<Item> | AsyncIterator<Item> {
  if (typeof items === "object" && items !== null) {
    if (Symbol.asyncIterator in items) return items[Symbol.asyncIterator]();
    if (Symbol.iterator in items) return items[Symbol.iterator]();
  }
  throw new TypeError(
    `Expected \`items\` to be an Iterable or AsyncIterable such as an array, got ${describe(items)}`,
  );
}

/** An item ready for its way: checked, and as JSON unless it is a text. */
export type PackedItem =
  | { readonly text: string }
  | { readonly json: string; readonly value: unknown };

/** @throws TypeError that names the item when JSON cannot carry it */
export function packItem(item: unknown, index: number): PackedItem {
  if (typeof item === "string") return { text: item };
  const problem = jsonProblem(item, "");
  if (problem) throw new TypeError(`Item ${index} is not a JSON value: ${problem}`);
  return { json: JSON.stringify(item), value: item };
}

/** The part of the payload that carries the item; writes `file` for a long one, which every attempt can read. */
export function itemPayload(
  packed: PackedItem,
  file: string,
): Pick<Payload, "item" | "itemFile" | "itemKind"> {
  const short =
    "text" in packed ? packed.text.length <= INLINE_LIMIT : packed.json.length <= INLINE_LIMIT;
  if (short) return { item: "text" in packed ? packed.text : packed.value };
  const { kind } = "text" in packed ? writeText(file, packed.text) : writeJson(file, packed.json);
  return { itemFile: file, itemKind: kind };
}

/** What keeps a value from being the same after JSON, or `undefined`. A value with `toJSON` says itself what it is. */
function jsonProblem(
  value: unknown,
  at: string,
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
