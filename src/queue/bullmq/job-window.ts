/**
 * How many jobs a program has under way, and how much work is in each: enough for all machines, and no more jobs a second than one server
 * passes on.
 */
import { monotonic } from "../../system/monotonic.js";
import { clearTimeout, setTimeout } from "../../system/timers.js";

/** Also while no machine is known. */
const LEAST_JOBS = 16;
/** For each item that machines can run at once: one runs, and one waits there. */
const JOBS_PER_SLOT = 2;
/** One server passes on some 4,000 jobs a second: a batch takes long enough for half of that. */
const LEAST_BATCH_MS = 50;
const BATCH_MS_PER_SLOT = 0.5;
/** Less work is not divided, however many machines wait: each job costs the server 0.15 ms, one after the other. */
export const INDIVISIBLE_MS = 10;

/** @param slots - over all machines */
export function mostJobs(slots: number): number {
  return Math.max(LEAST_JOBS, JOBS_PER_SLOT * slots);
}

export function batchMs(slots: number): number {
  return Math.max(LEAST_BATCH_MS, slots * BATCH_MS_PER_SLOT);
}

const FIRST_JOBS = 64;
const JOBS_PER_MS = 4;
const PAUSE_MS = 25;

/**
 * Keeps a call from filling the window with jobs of one item before it is known how long items take: with a thousand machines, nearly
 * each of 20,000 tiny items was a job of its own. Jobs are added at the pace at which the server passes them on, so that machines do not wait the longer for theirs.
 */
export class SlowStart {
  readonly #onMore: () => void;
  #since: number | undefined;
  #ended = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param onMore - called when there may be more jobs than were allowed */
  constructor(onMore: () => void) {
    this.#onMore = onMore;
  }

  /** Whether there may be another job besides these. */
  allows(jobs: number): boolean {
    const now = monotonic();
    this.#since ??= now;
    if (jobs < FIRST_JOBS + this.#ended + (now - this.#since) * JOBS_PER_MS) return true;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#onMore();
    }, PAUSE_MS).unref();
    return false;
  }

  noteEnd(): void {
    this.#ended += 1;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
