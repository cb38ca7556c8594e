/** A task: an item on its way. And the interface by which a slot reports to the call that owns the task. */
import type { Usage } from "../errors.js";
import type { ResolvedOptions } from "../options.js";
import type { ChildLife } from "../observe/diagnostics.js";
import type { LongItem } from "./protocol.js";

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

/** The call, as a pool and its slots see it. */
export interface TaskOwner {
  /** The AsyncLocalStorage context in which the call was made. */
  readonly context: { run<T>(work: () => T): T };
  readonly options: ResolvedOptions;
  /** Whether the call keeps the results. */
  readonly wantsResults: boolean;
  /** What `process` must return, for errors. */
  readonly expected: string;
  /** Whether the first error ends the call: then a child stops at it without waiting for a message. */
  readonly endsAtError: boolean;
  /** Items per line. */
  readonly batchSize: number;
  /** Whether a child may receive a line before it has finished the one before. */
  readonly sendsAhead: boolean;
  /** Whether a busy slot may queue a batch ahead (no hook or generator would observe it). */
  readonly takesAhead: boolean;
  /** Recent time a slot takes for an item, in ms; 0 until it is known. */
  readonly msPerItem: number;
  /** Returns up to `limit` tasks; none if there are none now. */
  take(limit: number): Task[];
  /** @param runs - knows the run of `seq` only until this method returns */
  succeeded(task: Task, result: unknown, runs: Runs, seq: number): void;
  failed(task: Task, failure: Failure, run: Run): void;
  /** Called when the task is to be taken again after `ms`, which is no attempt. `runs` as in `succeeded`. */
  throttled(task: Task, ms: number, runs: Runs, seq: number): void;
  /** Called when tasks have not been begun and are to be taken again. */
  returned(tasks: readonly Task[]): void;
  /** Called when a slot has taken `ms` for `count` items; `bytes` is the size of their results and of long items. */
  paced(count: number, ms: number, bytes: number): void;
  /** Called when no item can be run. */
  doomed(error: Error): void;
  /** Called when a child of the pool has ended, or outlives the call. */
  childEnded(life: ChildLife): void;
}
