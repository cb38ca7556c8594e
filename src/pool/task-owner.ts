/** What a pool and its slots know of a call: it owns the tasks that they run, and receives what became of each. */
import type { ChildLife } from "../observe/diagnostics.js";
import type { ResolvedOptions } from "../options.js";
import type { Batch, Failure, Run, Runs, Task } from "../wire/task.js";
import type { Batching } from "./batching.js";

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
  readonly batching: Batching;
  /** Returns up to `limit` tasks, or items that need none so far; none if there are none now. */
  take(limit: number): Batch;
  /** @param runs - knows the run of `seq` only until this method returns */
  succeeded(task: Task, result: unknown, runs: Runs, seq: number): void;
  /** Called instead of `succeeded` for an item of `FreshItems`: only an owner that gives some needs it. */
  freshSucceeded?(index: number, item: unknown, result: unknown, runs: Runs, seq: number): void;
  failed(task: Task, failure: Failure, run: Run): void;
  /** Called when the task is to be taken again after `ms`, which is no attempt. `runs` as in `succeeded`. */
  throttled(task: Task, ms: number, runs: Runs, seq: number): void;
  /** Called when tasks have not been begun and are to be taken again. */
  returned(tasks: readonly Task[]): void;
  /** Called when no item can be run. */
  doomed(error: Error): void;
  /** Called when a child of the pool has ended, or outlives the call. */
  childEnded(life: ChildLife): void;
}
