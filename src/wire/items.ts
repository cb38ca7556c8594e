/** Prepares items for a child: checks that each can travel, and packs tasks into the payload of a line. */
import { own } from "../errors.js";
import type { ItemFormat } from "../options.js";
import { areGone, GONE, isBytes } from "../system/bytes.js";
import { describe } from "../system/describe.js";
import { stringify } from "../system/json.js";
import type { EncodedItem, Payable } from "./payload.js";
import { payableBytes, shortBytes } from "./short-bytes.js";
import { LONGEST_INLINE, type Payload } from "./protocol.js";
import { problemOfClone, serialize } from "./structured-clone.js";
import { type Batch, FreshItems, type Task } from "./task.js";
import { isCloneable, USE_ADVANCED, valueProblem } from "./value-check.js";
import { inWords, problemOfThrown, type ValueProblem } from "./value-problem.js";

/**
 * @param index - `undefined` if the item has none yet
 *
 * @throws TypeError that names the item when it cannot travel
 */
export function checkItem(item: unknown, index: number | undefined, format: ItemFormat): void {
  if (typeof item === "string" || isPlainNumber(item)) return;
  if (isBytes(item)) {
    if (!areGone(item)) return;
    throw refusal(item, index, { at: "", what: `is ${describe(item)} ${GONE}` }, format);
  }
  const problem = valueProblem(item, format === "advanced" ? format : "json");
  if (problem) throw refusal(item, index, problem, format);
}

/** Whether the item, which has been checked, is always sent as JSON in a line, and cannot change. */
export function isBrief(item: unknown): boolean {
  if (typeof item === "string") return item.length <= LONGEST_INLINE;
  // JSON has no -0.
  if (typeof item === "number") return Number.isFinite(item) && !Object.is(item, -0);
  return typeof item === "boolean" || item === null;
}

/** Runs `make`, which derives a value from the item: code of the item may throw, or the item be nested too deeply. */
export function ofItem<T>({ item, index }: Task, format: ItemFormat, make: () => T): T {
  try {
    return make();
  } catch (error) {
    const problem = format === "advanced" ? problemOfClone(error) : problemOfThrown(error);
    throw refusal(item, index, problem, format);
  }
}

function refusal(
  item: unknown,
  index: number | undefined,
  problem: ValueProblem,
  format: ItemFormat,
): TypeError {
  const { thrown } = problem;
  const name = index === undefined ? "The item" : `Item ${index}`;
  const why =
    format === "advanced"
      ? `${name} cannot be cloned: ${inWords(problem)}. ${CLONED}`
      : `${name} is not a JSON value: ${inWords(problem)}. ${remedy(item, problem, format)}${JSON_VALUES}`;
  return own(new TypeError(why, thrown && { cause: thrown.error }));
}

function remedy(item: unknown, { thrown }: ValueProblem, format: ItemFormat): string {
  if (thrown || format !== "json" || !isCloneable(item)) return "Items travel as JSON: make it of ";
  return `${USE_ADVANCED}; or make it of `;
}

const JSON_VALUES = "text, finite numbers, booleans, null, arrays and plain objects";
const CLONED =
  'With `serialization: "advanced"` items travel by structured clone, which has no form for it: ' +
  "functions, symbols, promises, proxies, and objects with a hidden state cannot leave their process";

/** The part of a payload that describes its items. */
export type PackedItems = Pick<
  Payload,
  "seq" | "index" | "indexes" | "attempts" | "items" | "encoded"
>;

/** Where items are kept for their children that are too long for a line. */
export interface ItemStore {
  /** An item of up to this many characters travels in its line; a longer one is kept. */
  readonly longerThan: number;
  /** Whether all bytes are kept, even the shortest: a program would have to decode them. */
  readonly keepsShortBytes?: boolean;
  /** @throws when it cannot be stored, for example on a full disk */
  keep(payable: Payable): EncodedItem;
  /** Called when no child will read the item again. */
  release(item: EncodedItem): void;
}

/**
 * Packs a batch into a payload. A long item, or one that is no JSON, is encoded once for all attempts. If one cannot be
 * stored, its task and all later ones are left out: `items.length` is the number of tasks packed.
 *
 * @param seq - the number of the first item in its child
 * @throws TypeError when the first item can no longer travel; another error when it cannot be stored
 */
export function packItems(
  batch: Batch,
  seq: number,
  store: ItemStore,
  format: ItemFormat,
): PackedItems {
  if (batch instanceof FreshItems) {
    const { index, items } = batch;
    return { seq, index, indexes: undefined, attempts: undefined, items, encoded: undefined };
  }
  return packTasks(batch, seq, store, format);
}

function packTasks(
  tasks: readonly Task[],
  seq: number,
  store: ItemStore,
  format: ItemFormat,
): PackedItems {
  const { index } = tasks[0]!;
  const items: unknown[] = [];
  let indexes: number[] | undefined;
  let attempts: number[] | undefined;
  let encoded: Record<number, EncodedItem> | undefined;
  for (let place = 0; place < tasks.length; place += 1) {
    const task = tasks[place]!;
    let own: EncodedItem | undefined;
    try {
      own = task.encoded ?? encodedIfNeeded(task, store, format);
    } catch (error) {
      if (place === 0) throw error;
      break;
    }
    // Not sized in advance: V8's JSON takes twice as long for an array that may have holes.
    items.push(own ? null : task.item);
    if (own) {
      task.encoded = own;
      (encoded ??= {})[place] = own;
    }
    if (task.index !== index + place) indexes ??= tasks.map((each) => each.index);
    if (task.attempt > 1) attempts ??= tasks.map((each) => each.attempt);
  }
  return { seq, index, indexes, attempts, items, encoded };
}

function encodedIfNeeded(
  task: Task,
  store: ItemStore,
  format: ItemFormat,
): EncodedItem | undefined {
  const payable = payableOf(task, store.longerThan, format);
  if (!payable) return undefined;
  const short = store.keepsShortBytes === true ? undefined : shortBytes(payable);
  return short ?? store.keep(payable);
}

/**
 * Returns the item as it is to be encoded; `undefined` for what travels in a line as it is. The item has been checked, but
 * user code may have changed it since.
 */
function payableOf(task: Task, longerThan: number, format: ItemFormat): Payable | undefined {
  const { item, index } = task;
  if (typeof item === "string") {
    return item.length > longerThan ? { kind: "text", data: item } : undefined;
  }
  if (isBrief(item)) return undefined;
  if (isBytes(item)) {
    checkItem(item, index, format);
    return payableBytes(item, format);
  }
  if (format === "advanced") {
    return { kind: "advanced", data: ofItem(task, format, () => serialize(item)) };
  }
  const json = ofItem(task, format, () => stringify(item) as string | undefined);
  if (json === undefined) {
    throw refusal(item, index, { at: "", what: "is undefined by now" }, format);
  }
  return json.length > longerThan ? { kind: "json", data: json } : undefined;
}

function isPlainNumber(item: unknown): boolean {
  return typeof item === "number" && Number.isFinite(item);
}
