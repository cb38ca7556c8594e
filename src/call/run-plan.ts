/** What all calls of `run` have in common, and how they get a pool. */
import type { ResolvedOptions, RunVerb } from "../options.js";
import type { CallRecorder } from "./call-recorder.js";
import type { Call } from "./call.js";

export interface RunPlan {
  /** Those of `new Parallel`. */
  readonly options: ResolvedOptions;
  readonly wantsResults: boolean;
  /** Of `Parallel`, for errors. */
  readonly verb: RunVerb;
  readonly maxQueue: number | undefined;
  /** What `process` must return, for errors. */
  readonly expected: string;
  readonly recorder: CallRecorder;
  /** Whether items run in this process. */
  readonly isInline: boolean;
  /** Whether the pool stays open when no `run` is under way. */
  readonly keepsPool: boolean;
  /** How many items one place of the pool runs at once. */
  readonly perPlace: number;
  /** How many items can be begun at once. */
  readonly slots: { readonly size: number };
  /** How the pool is opened and released, once for all items until none is under way. */
  readonly call: Pick<Call, "ready" | "open" | "release">;
  onSettled(isSuccess: boolean): void;
}
