/** What a pool and its slots know of a call: it owns the tasks that they run, and receives what became of each. */
import type { ChildLife } from "../observe/diagnostics.js";
import type { ResolvedOptions } from "../options.js";
import type { Failure, Run, Runs, Task } from "../wire/task.js";
import type { Batching } from "./batching.js";

export interface TaskOwner {
  /** Of whoever has made the call. */
  readonly context: { run<T>(work: () => T): T };
  readonly options: ResolvedOptions;
  /** Whether anybody wants the results. */
  readonly wantsResults: boolean;
  /** What `process` is to return, for errors. */
  readonly expected: string;
  /** Whether the first error ends it, so that a child need not wait to be told. */
  readonly endsAtError: boolean;
  readonly batching: Batching;
  /** Up to `limit` tasks; none when there is none now. */
  take(limit: number): Task[];
  /** `runs` is to be asked about `seq` at once or never. */
  succeeded(task: Task, result: unknown, runs: Runs, seq: number): void;
  failed(task: Task, failure: Failure, run: Run): void;
  /** It is to be taken again after so many ms; this was no attempt. `runs` as above. */
  throttled(task: Task, ms: number, runs: Runs, seq: number): void;
  /** They have not been begun, and are to be taken again. */
  returned(tasks: readonly Task[]): void;
  /** No item could be run. */
  doomed(error: Error): void;
  /** A child of the pool has ended. */
  childEnded(life: ChildLife): void;
}
