/** The items of a call: any Iterable or AsyncIterable, pulled one at a time, each checked to be what JSON can carry. */
import { describe } from "./describe.js";
import { jsonProblem } from "./json-value.js";
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
  const problem = jsonProblem(item);
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
