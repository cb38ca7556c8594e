/** What a pool and its slots know of a call: it owns the tasks that they run, and receives what became of each. */
import type { ChildLife } from "../observe/diagnostics.js";
import type { ResolvedOptions } from "../options.js";
import type { Batch, Failure, Run, Runs, Task } from "../wire/task.js";
import type { Batching } from "./batching.js";

/** Where a task runs. */
export interface TaskPlace {
  /**
   * Ends this task at once: gives it back if it has not begun, else kills its child. A child that runs other tasks beside it is
   * left alone.
   */
  abort(task: Task): void;
  /** The first task that waits here behind others; `undefined` if none does. */
  firstWaiting(): Task | undefined;
}

export interface TaskOptions {
  readonly tag?: ResolvedOptions["tag"] | undefined;
  readonly timeout?: number | undefined;
}

export interface TaskOwner {
  readonly options: ResolvedOptions;
  /** Whether the call keeps the results. */
  readonly wantsResults: boolean;
  /** What `process` must return, for errors. */
  readonly expected: string;
  /** Whether the first error ends the call: then a child stops at it without waiting for a message. */
  readonly endsAtError: boolean;
  readonly batching: Batching;
  /** Whether the call is told of each child that ends. */
  readonly observesChildren: boolean;
  /** Items that have succeeded are all that there were: nothing is left that a later call could continue. */
  readonly isComplete?: boolean;
  /** Each item comes from a caller of its own, who may abort it alone. */
  readonly arrivesSingly?: boolean;
  /** `false` if `take` would return none; an owner that does not know has no such property. */
  readonly mayHaveTasks?: boolean;
  /**
   * Returns up to `limit` tasks, or items that need none so far, which will run at this place; none if there are none now.
   */
  take(limit: number, place: TaskPlace): Batch;
  /** Runs the user's code in the AsyncLocalStorage context in which this task was asked for. */
  within<T>(task: Task, work: () => T): T;
  /** The options that tasks of one owner may have each for itself. A fresh item has those of the owner. */
  optionsOf(task?: Task): TaskOptions;
  /** @param runs - knows the run of `seq` only until this method returns */
  succeeded(task: Task, result: unknown, runs: Runs, seq: number): void;
  /** Called instead of `succeeded` for an item of `FreshItems`: only an owner that gives some needs it. */
  freshSucceeded?(index: number, item: unknown, result: unknown, runs: Runs, seq: number): void;
  failed(task: Task, failure: Failure, run: Run): void;
  /** Called when the task is to be taken again after `ms`, which is no attempt. `runs` as in `succeeded`. */
  throttled(task: Task, ms: number, runs: Runs, seq: number): void;
  /** Called when tasks have not been begun and are to be taken again. */
  returned(tasks: readonly Task[]): void;
  /** Called when no item can be run. @param culprit - the task because of which, if it is the only one to blame */
  doomed(error: Error, culprit?: Task): void;
  /** Called when a child of the pool has ended, or outlives the call; only if `observesChildren`. */
  childEnded(life: ChildLife): void;
}
