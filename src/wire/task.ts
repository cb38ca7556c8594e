/** A task: an item on its way, and where it has run. */
import type { Usage } from "../errors.js";
import type { EncodedItem } from "./payload.js";

/** Kept small, as every item has one: rare fields are only set when needed. */
export interface Task {
  readonly index: number;
  readonly item: unknown;
  /** 1 for the first try. */
  attempt: number;
  /** The item as it is sent if it is no JSON, or too long for a line. */
  encoded?: EncodedItem | undefined;
  /** How often a child that held the task ended before it began the item. */
  strays?: number;
  /** The failure of the last attempt. */
  failure?: Failure;
  /** Identifies the item for `dedupe` and `journal`. */
  key?: string;
}

/**
 * Items on their first attempt that follow each other in the input, each a short text, a number, a boolean or `null`. Nearly
 * none of a million such items fails, waits or is observed: only those become tasks.
 */
export class FreshItems {
  /** Position of the first. */
  readonly index: number;
  readonly items: readonly unknown[];

  constructor(index: number, items: readonly unknown[]) {
    this.index = index;
    this.items = items;
  }

  get length(): number {
    return this.items.length;
  }
}

/** What a child is given at once. */
export type Batch = readonly Task[] | FreshItems;

export function tasksOf(batch: Batch): readonly Task[] {
  if (!(batch instanceof FreshItems)) return batch;
  return batch.items.map((item, place) => freshTask(batch.index + place, item));
}

/** Returns the tasks, followed by the batch. */
export function joined(tasks: readonly Task[], batch: Batch): Batch {
  return tasks.length === 0 ? batch : [...tasks, ...tasksOf(batch)];
}

export function freshTask(index: number, item: unknown): Task {
  return { index, item, attempt: 1 };
}

/** Where and when a task was run. */
export interface Run {
  readonly num: number;
  readonly generation: number;
  readonly pid: number | undefined;
  /** In ms on the monotonic clock. */
  readonly start: number;
  readonly end: number;
  /** Resources the child used; only if it ran this item alone and the system reports them. */
  readonly usage: Usage | undefined;
  /** What the item printed, if the parent reads the output. */
  readonly printed?: Printed | undefined;
}

/** What is kept of an item's output once the item has ended. */
export interface Printed {
  /** Only with `output: "collect"`. */
  readonly collected: { readonly stdout: string; readonly stderr: string } | undefined;
  /** The last lines on stderr; empty when there are none. */
  readonly lastWords: string;
}

/** Creates the `Run` of an item on request: most callers need none, and there may be a million items a second. */
export interface Runs {
  runOf(seq: number): Run;
  /** When the item was begun, in ms on the monotonic clock. */
  startOf(seq: number): number;
}

export function justRun(run: Run): Runs {
  return { runOf: () => run, startOf: () => run.start };
}

export interface Failure {
  readonly error: Error;
  /** Whether another attempt may succeed. */
  readonly isRetriable: boolean;
}
