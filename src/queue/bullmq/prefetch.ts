/**
 * Divides `prefetch` among the queues of a machine: each BullMQ worker may hold its own jobs and all places that are free, but always one,
 * so that none waits for the others. So at most `prefetch` jobs and one for each queue are held.
 */
import type { Worker } from "bullmq";
import { clearTimeout, setTimeout } from "../../system/timers.js";

/** Waking restarts a worker's check for stalled jobs, a command to the server. In ms. */
const WAKE_PAUSE_MS = 50;

export class Prefetch {
  readonly #limit: number;
  readonly #shares: Share[] = [];
  #isEnded = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @param worker - begins with all places */
  add(worker: Worker): Share {
    const share = new Share(worker, () => this.#divide());
    this.#shares.push(share);
    this.#divide();
    return share;
  }

  /** Wakes no worker any more: they are to stop. */
  end(): void {
    this.#isEnded = true;
    for (const share of this.#shares) share.stopWaking();
  }

  #divide(): void {
    if (this.#isEnded) return;
    const held = this.#shares.reduce((sum, { jobs }) => sum + jobs, 0);
    for (const share of this.#shares) share.allow(Math.max(1, share.jobs + this.#limit - held));
  }
}

export class Share {
  readonly #worker: Worker;
  readonly #divide: () => void;
  #jobs = 0;
  #waking: NodeJS.Timeout | undefined;
  #mayWake = true;

  constructor(worker: Worker, divide: () => void) {
    this.#worker = worker;
    this.#divide = divide;
  }

  get jobs(): number {
    return this.#jobs;
  }

  take(): void {
    this.#jobs += 1;
    this.#divide();
  }

  release(): void {
    this.#jobs -= 1;
    this.#divide();
  }

  allow(most: number): void {
    const wasFull = this.#jobs >= this.#worker.concurrency;
    this.#worker.concurrency = most;
    if (wasFull && this.#jobs < most) this.#wakeLater();
  }

  stopWaking(): void {
    this.#mayWake = false;
    clearTimeout(this.#waking);
  }

  /** The loop of a worker that was full sleeps until one of its own jobs ends, though a place may have come from another queue. */
  #wakeLater(): void {
    if (this.#waking || !this.#mayWake) return;
    this.#waking = setTimeout(() => {
      this.#waking = undefined;
      if (this.#jobs >= this.#worker.concurrency) return;
      // Both act at once; between the two, nothing else runs.
      void this.#worker.pause(true);
      void this.#worker.resume();
    }, WAKE_PAUSE_MS).unref();
  }
}
