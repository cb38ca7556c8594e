/** A task: an item on its way. And what its owner, the call, is told of it by the slot it runs in. */
import type { Usage } from "../errors.js";
import type { ResolvedOptions } from "../options.js";
import type { ChildLife } from "../observe/diagnostics.js";
import type { LongItem } from "./protocol.js";

/** Small, as there is one for every item: what few tasks have is only there when they do. */
export interface Task {
  readonly index: number;
  readonly item: unknown;
  /** 1 for the first try. */
  attempt: number;
  /** Where it is when it is too long for a line. */
  long?: LongItem | undefined;
  /** How often a child that had been given it has ended before it began it. */
  strays?: number;
  /** Of its last attempt. */
  failure?: Failure;
  /** By which it is known again, where that matters. */
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
  /** What the child cost, where it had this item only and the system could tell. */
  readonly usage: Usage | undefined;
  /** What it has printed, where that is read. */
  readonly printed?: Printed | undefined;
}

/** What is left of an item's output once it has ended. */
export interface Printed {
  /** Where it is collected. */
  readonly collected: { readonly stdout: string; readonly stderr: string } | undefined;
  /** The last lines on stderr; empty when there are none. */
  readonly lastWords: string;
}

/** Tells of runs to those who ask: most do not, and there are a million of them a second. */
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
  /** Of whoever has made the call. */
  readonly context: { run<T>(work: () => T): T };
  readonly options: ResolvedOptions;
  /** Whether anybody wants the results. */
  readonly wantsResults: boolean;
  /** What `process` is to return, for errors. */
  readonly expected: string;
  /** Whether the first error ends it, so that a child need not wait to be told. */
  readonly endsAtError: boolean;
  /** Items per line. */
  readonly batchSize: number;
  /** Whether a child may have a line while it is at another. */
  readonly sendsAhead: boolean;
  /** Whether nobody notices when a task is taken for a slot that is at another. */
  readonly takesAhead: boolean;
  /** How long one takes a slot, as of late; 0 as long as that is not known. */
  readonly msPerItem: number;
  /** Up to `limit` tasks; none when there is none now. */
  take(limit: number): Task[];
  /** `runs` is to be asked about `seq` at once or never. */
  succeeded(task: Task, result: unknown, runs: Runs, seq: number): void;
  failed(task: Task, failure: Failure, run: Run): void;
  /** It is to be taken again after so many ms; this was no attempt. `runs` as above. */
  throttled(task: Task, ms: number, runs: Runs, seq: number): void;
  /** They have not been begun, and are to be taken again. */
  returned(tasks: readonly Task[]): void;
  /** So many items, with results of so many bytes (and items, where those are long), have taken a slot so long. */
  paced(count: number, ms: number, bytes: number): void;
  /** No item could be run. */
  doomed(error: Error): void;
  /** A child of the pool has ended. */
  childEnded(life: ChildLife): void;
}
