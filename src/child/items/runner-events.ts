/** What a runner is given: the worker, where its items run, and whom it reports to. */
import type { Serialization } from "../../options.js";
import type { Answer, Payload } from "../../wire/protocol.js";
import type { Frame, JsonWorker, Kind, ParallelWorker } from "../../worker/worker.js";
import type { OutputMarks } from "./output-marks.js";

export type LoadedWorker =
  | ParallelWorker<unknown, string | Uint8Array>
  | JsonWorker<unknown, unknown>;

/** Where the items run; the same for all children of one worker. */
export interface Surroundings {
  readonly kind: Kind;
  readonly name: string;
  readonly context: readonly Frame[];
  /** The option `serialization`. */
  readonly serialization: Serialization;
  /** Returns how many bytes the child holds. */
  readonly heldMemory?: () => number;
}

export interface RunnerEvents {
  /** Sends an answer to the parent. */
  say(answer: Answer): void;
  /** Called when the child begins to run items, and when it is idle again. */
  busy(isBusy: boolean): void;
  /** Calls `interrupt` when the child is asked to end. */
  onInterrupt(interrupt: () => void): void;
  /**
   * In a child with one item, called when `process` has settled: makes Node report unhandled rejections, then calls
   * `then` unless the report ends the process.
   */
  reportRejections?(then: () => void): void;
  /** Called when the child has nothing more to do and can end. */
  done(): void;
  /** Marks the output of the child with the item that printed it. */
  readonly marks?: OutputMarks | undefined;
}

/** Items that came in one line. */
export interface Batch {
  readonly payload: Payload;
  /** Place of the next item to begin. */
  next: number;
}
