/** Items as they travel: each is checked to be a JSON value, and tasks are packed into the payload of a line. */
import { own } from "../errors.js";
import { inWords, type JsonProblem, jsonProblem, problemOfThrown } from "./json-value.js";
import type { LongItem, Payload } from "./protocol.js";
import type { Task } from "./task.js";
import { stringify } from "../system/json.js";

/** @throws TypeError that names the item when JSON cannot carry it */
export function checkItem(item: unknown, index: number): void {
  if (typeof item === "string" || isPlainNumber(item)) return;
  const problem = jsonProblem(item);
  if (problem) throw notJson(index, problem);
}

/** What `make` gives, which is made of the item: its own code may throw this time, or it may be too deep for that. */
export function ofItem<T>(index: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw notJson(index, problemOfThrown(error));
  }
}

function notJson(index: number, problem: JsonProblem): TypeError {
  const { thrown } = problem;
  return own(
    new TypeError(
      `Item ${index} is not a JSON value: ${inWords(problem)}. ` +
        "Items travel as JSON: make it of text, finite numbers, booleans, null, arrays and plain objects",
      thrown && { cause: thrown.error },
    ),
  );
}

/** The part of a payload that says which items there are. */
export type PackedItems = Pick<
  Payload,
  "seq" | "index" | "indexes" | "attempts" | "items" | "long"
>;

/** An array grows by so many elements at first. */
const SHORT = 16;

/** Where long items are kept for their children. */
export interface LongItems {
  /** An item travels in its line up to so many characters; a longer one is kept. */
  readonly longerThan: number;
  /** @throws when there is no room for it */
  keep(text: string, kind: "text" | "json"): LongItem;
  /** It will not be read any more. */
  release(item: LongItem): void;
}

/**
 * Puts tasks into a payload; where a long item is kept is in `task.long`, for every attempt. Those from the first on that
 * cannot be kept are left out: as many are in it as it has items.
 *
 * @param seq - the number of the first in its child
 * @throws TypeError when the very first is no JSON value any more; another error when it cannot be kept
 */
export function packItems(tasks: readonly Task[], seq: number, longItems: LongItems): PackedItems {
  const { index } = tasks[0]!;
  // Of its length at once: one that grows is copied again and again. A short one costs less than this.
  const items: unknown[] = [];
  if (tasks.length > SHORT) items.length = tasks.length;
  let indexes: number[] | undefined;
  let attempts: number[] | undefined;
  let long: Record<number, LongItem> | undefined;
  for (let place = 0; place < tasks.length; place += 1) {
    const task = tasks[place]!;
    let kept: LongItem | undefined;
    try {
      kept = task.long ?? keptIfLong(task, longItems);
    } catch (error) {
      if (place === 0) throw error;
      items.length = place;
      break;
    }
    items[place] = kept ? null : task.item;
    if (kept) {
      task.long = kept;
      (long ??= {})[place] = kept;
    }
    if (task.index !== index + place) indexes ??= tasks.map((each) => each.index);
    if (task.attempt > 1) attempts ??= tasks.map((each) => each.attempt);
  }
  return { seq, index, indexes, attempts, items, long };
}

function keptIfLong({ item, index }: Task, longItems: LongItems): LongItem | undefined {
  const { longerThan } = longItems;
  if (typeof item === "string") {
    return item.length > longerThan ? longItems.keep(item, "text") : undefined;
  }
  if (typeof item !== "object" || item === null) return undefined;
  const json = jsonOf(item, index);
  return json.length > longerThan ? longItems.keep(json, "json") : undefined;
}

/** It has been checked, and may be another by now. */
function jsonOf(item: object, index: number): string {
  const json = ofItem(index, () => stringify(item) as string | undefined);
  if (json === undefined) throw notJson(index, { at: "", what: "is undefined by now" });
  return json;
}

function isPlainNumber(item: unknown): boolean {
  return typeof item === "number" && Number.isFinite(item);
}
