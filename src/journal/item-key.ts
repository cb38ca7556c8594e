/** The key of an item, made of its value, not its position: for this run (`dedupe`) and for the next (`journal`). */
import { hash } from "node:crypto";
import { stringify } from "../system/json.js";
import { stableStringify } from "../wire/stable-json.js";
import { KeyTable } from "./key-table.js";

/**
 * Returns the SHA-256 of the item's stable JSON as base64url: equal for equal JSON values, whatever the order of their
 * properties.
 *
 * @param item - a JSON value, checked to be one
 */
export function itemKey(item: unknown): string {
  // A string needs no sorting of properties: this takes half the time.
  const json = typeof item === "string" ? stringify(item) : stableStringify(item);
  return hash("sha256", json, "base64url");
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
