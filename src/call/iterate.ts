/** Makes an iterator of the items of a call, whatever collection they are in. */
import { own } from "../errors.js";
import { describe } from "../system/describe.js";

/**
 * Returns an iterator over the items.
 *
 * @throws TypeError when `items` is not iterable
 */
export function iterate<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
): Iterator<Item> | AsyncIterator<Item> {
  if (Array.isArray(items)) return overArray(items as Item[]);
  if (typeof items === "object" && items !== null) {
    if (Symbol.asyncIterator in items) return items[Symbol.asyncIterator]();
    if (Symbol.iterator in items) return items[Symbol.iterator]();
  }
  throw own(
    new TypeError(
      `Expected \`items\` to be an Iterable or AsyncIterable such as an array, got ${describe(items)}`,
    ),
  );
}

/**
 * Replaces an array's own iterator, which V8 does not inline where other iterators also occur. For a call's internal
 * use only, as `next` returns the same object each time.
 */
function overArray<Item>(items: readonly Item[]): Iterator<Item> {
  const step = { done: false, value: undefined as Item };
  let at = 0;
  return {
    next() {
      if (at >= items.length) return { done: true, value: undefined };
      step.value = items[at]!;
      at += 1;
      return step as IteratorYieldResult<Item>;
    },
  };
}

/** Returns how many items there are, if the collection has a length; it may still change. */
export function knownLength(items: object): number | undefined {
  if (Array.isArray(items)) return items.length;
  if (items instanceof Set || items instanceof Map) return items.size;
  return ArrayBuffer.isView(items) ? (items as Uint8Array).length : undefined;
}
