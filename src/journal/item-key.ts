/** The key of an item, made of its value, not its position: for this run (`dedupe`) and for the next (`journal`). */
import { createHash, hash } from "node:crypto";
import type { ItemFormat } from "../options.js";
import { isBytes } from "../system/bytes.js";
import { stringify } from "../system/json.js";
import { isBrief } from "../wire/items.js";
import { payableBytes } from "../wire/short-bytes.js";
import { stableStringify } from "../wire/stable-json.js";
import { canonicalText } from "./canonical-text.js";
import { KeyTable } from "./key-table.js";

/**
 * Returns the SHA-256 of the item as base64url: of its bytes if it is a `Uint8Array`, else of a text that is the same for
 * equal values, whatever the order of their properties.
 *
 * @param item - checked to be one that can travel
 */
export function itemKey(item: unknown, format: ItemFormat = "json"): string {
  // A string needs no sorting of properties: this takes half the time.
  if (typeof item === "string") return hash("sha256", stringify(item), "base64url");
  // No JSON begins with these letters.
  if (isBytes(item)) {
    const { kind } = payableBytes(item, format);
    return createHash("sha256").update(`${kind}:`).update(item).digest("base64url");
  }
  if (format === "advanced" && !isBrief(item)) {
    return hash("sha256", `advanced:${canonicalText(item)}`, "base64url");
  }
  return hash("sha256", stableStringify(item), "base64url");
}

/** Distinguishes equal items by occurrence: the n-th of them has the same key in every run over the same items. */
export class KeyCounter {
  readonly #counts = new KeyTable();

  /** Returns the key of the next item whose `itemKey` is `key`: `key` for the first, another key for each later one. */
  next(key: string): string {
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    return count === 1 ? key : hash("sha256", `${key} ${count}`, "base64url");
  }
}
