/**
 * The channels of node:diagnostics_channel that this library publishes: `forkmap:item` (an attempt has ended),
 * `forkmap:child` (a child has ended) and `forkmap:call` (a call has begun or ended). A message is built only if there
 * are subscribers.
 */
import { channel } from "node:diagnostics_channel";
import type { Kind } from "../worker/worker.js";

/** Message of the channel `forkmap:item`: an attempt at an item has ended. Times are ms on the monotonic clock. */
export interface ItemMessage {
  readonly worker: string;
  readonly index: number;
  readonly attempt: number;
  readonly num: number;
  readonly generation: number;
  readonly pid: number | undefined;
  readonly start: number;
  readonly end: number;
  /**
   * `"ok"`, `"error"`, `"mistyped"`, `"timeout"`, `"dead"`, `"unstarted"`, `"breach"`; of a program also
   * `"throttled"`.
   */
  readonly outcome: string;
  readonly error: Error | undefined;
}

/** The life of one child. */
export interface ChildLife {
  readonly num: number;
  readonly generation: number;
  readonly pid: number | undefined;
  /** In ms on the monotonic clock. */
  readonly start: number;
  readonly end: number;
  /** How the child ended: `"exit code 0"`, `"SIGKILL"`, why it could not be started, or that it outlives the call. */
  readonly how: string;
}

/** Message of the channel `forkmap:child`: a child has ended. Times are ms on the monotonic clock. */
export interface ChildMessage extends ChildLife {
  readonly worker: string;
}

/** Message of the channel `forkmap:call`: a call has begun or ended. */
export interface CallMessage {
  readonly worker: string;
  readonly state: "begun" | "ended";
  /** How its children are started; `undefined` before the first child of a `Parallel`. */
  readonly kind: Kind | undefined;
  /** The error it rejected with, if any. */
  readonly error: unknown;
}

export const items = channel("forkmap:item");
export const children = channel("forkmap:child");
export const calls = channel("forkmap:call");
