/** What one call is to do: its items and options, where its results go, and how it gets a pool. */
import type { ResolvedOptions } from "../options.js";
import type { Pool } from "../pool/pool.js";
import type { TaskOwner } from "../pool/task-owner.js";
import type { CallRecorder } from "./call-recorder.js";
import type { CallerContext } from "./caller-context.js";
import type { KnownTaskEvents, KnownTasks } from "./known-tasks.js";

export interface Call {
  readonly context: CallerContext;
  /** Gives errors of this library the stack of the call. */
  readonly site: { claim<T>(error: T): T };
  readonly items: Iterable<unknown> | AsyncIterable<unknown>;
  readonly options: ResolvedOptions;
  readonly wantsResults: boolean;
  /** What `process` must return, for errors. */
  readonly expected: string;
  readonly recorder: CallRecorder;
  /** Opens the results that need no child (`dedupe`, `journal`), if the call may have any. */
  readonly openKnown: ((events: KnownTaskEvents) => Promise<KnownTasks>) | undefined;
  /** Prepares what a pool needs; called only if there is an item. */
  readonly ready: () => Promise<unknown>;
  readonly open: () => Promise<Pool>;
  /** Called when the call no longer needs the pool. */
  readonly release: (pool: Pool, call: TaskOwner) => Promise<void>;
  /** How many items may be pulled now; any number if absent. */
  readonly mayPull?: () => number;
  readonly onResult: (index: number, result: unknown, item: unknown) => void;
  readonly onError: (index: number, error: Error) => void;
}
