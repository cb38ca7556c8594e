/** Prepares items for a child: checks that each is a JSON value, and packs tasks into the payload of a line. */
import { own } from "../errors.js";
import { stringify } from "../system/json.js";
import { inWords, type JsonProblem, jsonProblem, problemOfThrown } from "./json-value.js";
import type { LongItem } from "./payload.js";
import { LONGEST_INLINE, type Payload } from "./protocol.js";
import { type Batch, FreshItems, type Task } from "./task.js";

/**
 * @param index - `undefined` if the item has none yet
 *
 * @throws TypeError that names the item when JSON cannot carry it
 */
export function checkItem(item: unknown, index: number | undefined): void {
  if (typeof item === "string" || isPlainNumber(item)) return;
  const problem = jsonProblem(item);
  if (problem) throw notJson(index, problem);
}

/** Whether the item, which has been checked, never needs to be stored and cannot change. */
export function isBrief(item: unknown): boolean {
  if (typeof item === "string") return item.length <= LONGEST_INLINE;
  return typeof item !== "object" || item === null;
}

/** Runs `make`, which derives a value from the item: code of the item may throw, or the item be nested too deeply. */
export function ofItem<T>(index: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw notJson(index, problemOfThrown(error));
  }
}

function notJson(index: number | undefined, problem: JsonProblem): TypeError {
  const { thrown } = problem;
  const name = index === undefined ? "The item" : `Item ${index}`;
  return own(
    new TypeError(
      `${name} is not a JSON value: ${inWords(problem)}. ` +
        "Items travel as JSON: make it of text, finite numbers, booleans, null, arrays and plain objects",
      thrown && { cause: thrown.error },
    ),
  );
}

/** The part of a payload that describes its items. */
export type PackedItems = Pick<
  Payload,
  "seq" | "index" | "indexes" | "attempts" | "items" | "long"
>;

/** Where long items are kept for their children. */
export interface LongItems {
  /** An item of up to this many characters travels in its line; a longer one is kept. */
  readonly longerThan: number;
  /** @throws when it cannot be stored, for example on a full disk */
  keep(text: string, kind: "text" | "json"): LongItem;
  /** Called when no child will read the item again. */
  release(item: LongItem): void;
}

/**
 * Packs a batch into a payload. A long item is stored once for all attempts; `task.long` says where. If one cannot be
 * stored, its task and all later ones are left out: `items.length` is the number of tasks packed.
 *
 * @param seq - the number of the first item in its child
 * @throws TypeError when the first item is no longer a JSON value; another error when it cannot be stored
 */
export function packItems(batch: Batch, seq: number, longItems: LongItems): PackedItems {
  if (batch instanceof FreshItems) {
    const { index, items } = batch;
    return { seq, index, indexes: undefined, attempts: undefined, items, long: undefined };
  }
  return packTasks(batch, seq, longItems);
}

function packTasks(tasks: readonly Task[], seq: number, longItems: LongItems): PackedItems {
  const { index } = tasks[0]!;
  const items: unknown[] = [];
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
      break;
    }
    // Not sized in advance: V8's JSON takes twice as long for an array that may have holes.
    items.push(kept ? null : task.item);
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

/** Returns the JSON of an item. The item has been checked, but user code may have changed it since. */
function jsonOf(item: object, index: number): string {
  const json = ofItem(index, () => stringify(item) as string | undefined);
  if (json === undefined) throw notJson(index, { at: "", what: "is undefined by now" });
  return json;
}

function isPlainNumber(item: unknown): boolean {
  return typeof item === "number" && Number.isFinite(item);
}
