/** What a runner is given: the worker, where its items run, and whom it reports to. */
import type { Answer } from "../../wire/protocol.js";
import type { Frame, JsonWorker, Kind, ParallelWorker } from "../../worker/worker.js";
import type { OutputMarks } from "./output-marks.js";

export type LoadedWorker =
  | ParallelWorker<unknown, string | Uint8Array>
  | JsonWorker<unknown, unknown>;

/** Where the items run: what all children of one worker have in common. */
export interface Surroundings {
  readonly kind: Kind;
  readonly name: string;
  readonly context: readonly Frame[];
  /** Bytes that count as held by the child. */
  readonly heldMemory?: () => number;
}

export interface RunnerEvents {
  /** Tells the parent. */
  say(answer: Answer): void;
  /** Whether an item is being run. */
  busy(isBusy: boolean): void;
  /** Calls `interrupt` when the child is asked to end. */
  onInterrupt(interrupt: () => void): void;
  /**
   * Of a child with one item, whose process is through: has Node tell rejections that nobody has handled, and calls `then`
   * unless that ends the process.
   */
  tellRejections?(then: () => void): void;
  /** All is done that will ever be: the child can end. */
  done(): void;
  /** Where it is to be seen in what the child prints which item has printed it. */
  readonly marks?: OutputMarks | undefined;
}
