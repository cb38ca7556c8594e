/** What a pool and its slots know of a call: it owns the tasks that they run, and receives what became of each. */
import type { ChildLife } from "../observe/diagnostics.js";
import type { ResolvedOptions } from "../options.js";
import type { Failure, Run, Runs, Task } from "../wire/task.js";
import type { Batching } from "./batching.js";

/** Where a task runs. */
export interface TaskPlace {
  /**
   * Ends this task at once: gives it back if it has not begun, else kills its child. A child that runs other tasks beside it is
   * left alone.
   */
  abort(task: Task): void;
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
  /** Returns up to `limit` tasks, which will run at this place; none if there are none now. */
  take(limit: number, place: TaskPlace): Task[];
  /** Runs the user's code in the AsyncLocalStorage context in which this task was asked for. */
  within<T>(task: Task, work: () => T): T;
  /** The user's function that returns the prefix of what this task prints, if there is one. */
  tagOf(task: Task): ResolvedOptions["tag"];
  /** How long an attempt at this task may take, in ms; `undefined` for any time. */
  timeoutOf(task: Task): number | undefined;
  /** The least `timeoutOf` of these tasks; `Infinity` if none has one. */
  shortestTimeout(tasks: readonly Task[]): number;
  /** @param runs - knows the run of `seq` only until this method returns */
  succeeded(task: Task, result: unknown, runs: Runs, seq: number): void;
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
