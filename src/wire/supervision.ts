/**
 * What supervised children, their supervisor and its clients tell each other. They talk through Unix sockets in one directory, by the
 * calls of calls.ts; what each child measures is in a file of its own, see metrics-file.ts.
 */
import type { Kind } from "../worker/worker.js";

/** The first partial answer of a child to every diagnostic: its event loop turns. */
export const BEGUN = "begun";

/** One child, as it introduces itself. */
export interface ChildFacts {
  readonly run: string;
  readonly pool: string | undefined;
  readonly num: number;
  readonly generation: number;
  readonly name: string;
  readonly kind: Kind;
  readonly pid: number;
  /** On the monotonic clock, in ms. */
  readonly startedAt: number;
  /** `process.version` */
  readonly version: string;
}

/** An instance, as its container tells its supervisor. */
export interface InstanceView {
  readonly num: number;
  readonly generation: number;
  readonly name: string;
  readonly kind: Kind | undefined;
  readonly pid: number | undefined;
  /** `ended`: the container has forgotten it. */
  readonly state: "starting" | "ready" | "stopping" | "waiting" | "ended";
  readonly status: string;
  /** When its child was started, on the monotonic clock in ms; undefined without one. */
  readonly startedAt: number | undefined;
  readonly restarts: number;
  readonly failures: number;
  /** How its last child has ended, in words. */
  readonly lastEnd: string | undefined;
  /** Whether monitors watch it. */
  readonly isSupervised: boolean;
}
