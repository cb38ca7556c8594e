/** A task: an item on its way, and where it has run. */
import type { Usage } from "../errors.js";
import type { LongItem } from "./payload.js";

/** Kept small, as every item has one: rare fields are only set when needed. */
export interface Task {
  readonly index: number;
  readonly item: unknown;
  /** 1 for the first try. */
  attempt: number;
  /** Where the item is stored if it is too long for a line. */
  long?: LongItem | undefined;
  /** How often a child that held the task ended before it began the item. */
  strays?: number;
  /** The failure of the last attempt. */
  failure?: Failure;
  /** Identifies the item for `dedupe` and `journal`. */
  key?: string;
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
}

export interface Failure {
  readonly error: Error;
  /** Whether another attempt may succeed. */
  readonly isRetriable: boolean;
}
