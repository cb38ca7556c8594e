/** A job that this machine has taken, from the fetch to the acknowledgement: who wants it to end, and its signals. */
import type { Job } from "bullmq";
import { setTimeout } from "../../system/timers.js";
import type { AbortMessage } from "./keys.js";
import type { HeldLock } from "./lock-extender.js";
import type { Share } from "./prefetch.js";

/** `aborted`: its caller does not want it; `lost`: another machine has it; `returned`: this machine stops. */
export type EndReason = "aborted" | "lost" | "returned";

export class TakenJob {
  readonly job: Job;
  readonly lock: HeldLock;
  readonly share: Share;
  /** What became of it is on its way to the server, which may have removed the lock already. */
  isAcknowledging = false;
  readonly #controller = new AbortController();
  readonly #places = new Map<number, AbortController>();
  #end: EndReason | undefined;
  #doom: string | undefined;

  constructor(job: Job, queue: string, share: Share) {
    this.job = job;
    this.lock = { queue, id: job.id!, token: job.token! };
    this.share = share;
    this.#doom = job.deferredFailure;
    // BullMQ would fail the job at once, and nobody would report to its caller.
    if (this.#doom !== undefined) Reflect.deleteProperty(job, "deferredFailure");
  }

  get queue(): string {
    return this.lock.queue;
  }

  get id(): string {
    return this.lock.id;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The reason that counts: a job that another machine has is lost whatever else happens. */
  get end(): EndReason | undefined {
    return this.#end;
  }

  /** Why BullMQ wants the job to fail without being run: machines went silent with it too often. */
  get doom(): string | undefined {
    return this.#doom;
  }

  /** The job is run all the same. */
  pardon(): void {
    this.#doom = undefined;
  }

  signalOf(place: number): AbortSignal {
    return this.#controllerOf(place).signal;
  }

  stop(reason: EndReason): void {
    if (this.#end === undefined || reason === "lost") this.#end = reason;
    this.#controller.abort(new Error(REASONS[this.#end]));
  }

  obey({ places }: AbortMessage): void {
    if (!places) return this.stop("aborted");
    for (const place of places) this.#controllerOf(place).abort(new Error(REASONS.aborted));
  }

  /** Waits for the end of the job's run; but for one that is to be given back only so long, in ms. */
  async settled<T>(run: Promise<T>, limit: number): Promise<T> {
    return await new Promise((resolve, reject) => {
      run.then(resolve, reject);
      const giveUp = () => {
        if (this.#end !== "returned") return;
        setTimeout(() => reject(new Error(REASONS.returned)), limit).unref();
      };
      if (this.signal.aborted) giveUp();
      else this.signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  #controllerOf(place: number): AbortController {
    const controller = this.#places.get(place) ?? new AbortController();
    this.#places.set(place, controller);
    return controller;
  }
}

const REASONS: Readonly<Record<EndReason, string>> = {
  aborted: "The caller has aborted the job",
  lost: "Another machine has the job",
  returned: "The machine gives its jobs back",
};
