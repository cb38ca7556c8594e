/** By what an item is known again, in this run (`dedupe`) and in the next (`journal`): its value, not its position. */
import { hash } from "node:crypto";
import { KeyTable } from "./key-table.js";
import { stableStringify } from "../wire/stable-json.js";
import { stringify } from "../system/json.js";

/**
 * SHA-256 of the item's stable JSON, base64url: the same for items that are the same to a worker, whatever the order
 * of their properties.
 *
 * @param item - a JSON value, checked to be one
 */
export function itemKey(item: unknown): string {
  // A text of its own: half the time of an object's.
  const json = typeof item === "string" ? stringify(item) : stableStringify(item);
  return hash("sha256", json, "base64url");
}

/** Tells equal items apart by their occurrence: the n-th of them has the same key in every run over the same items. */
export class KeyCounter {
  readonly #counts = new KeyTable();

  /** The key of the next item whose `itemKey` is `key`: that one for the first, others for those that come after. */
  next(key: string): string {
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    return count === 1 ? key : hash("sha256", `${key} ${count}`, "base64url");
  }
}
