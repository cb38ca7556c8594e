/** A task: an item on its way, and where it has run. */
import type { Usage } from "../errors.js";
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
