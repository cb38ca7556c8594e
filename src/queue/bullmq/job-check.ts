/**
 * Looks after jobs that have been under way for long: one that failed as a whole fails its items; one that the server no longer has,
 * and of which there is no report, was lost with the server's memory, and is added again.
 */
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { monotonic } from "../../system/monotonic.js";
import type { Keys } from "./keys.js";
import type { MappedJob } from "./mapped-job.js";

export interface JobCheckEvents {
  onFailed(job: MappedJob, reason: string): void;
  onMissing(job: MappedJob): void;
}

export class JobCheck {
  readonly #client: Redis;
  readonly #queue: Queue;
  readonly #keys: Keys;
  readonly #events: JobCheckEvents;
  /** Jobs that the server does not have, and how many reads of reports were completed when that was seen. */
  readonly #missing = new Map<MappedJob, number>();

  constructor(client: Redis, queue: Queue, keys: Keys, events: JobCheckEvents) {
    this.#client = client;
    this.#queue = queue;
    this.#keys = keys;
    this.#events = events;
  }

  /**
   * @param jobs - those under way
   * @param age - in ms: younger ones need no look
   * @param rounds - how many reads of reports have been completed
   */
  async look(jobs: Iterable<MappedJob>, age: number, rounds: () => number): Promise<void> {
    const now = monotonic();
    const old = [...jobs].filter((job) => job.isAdded && now - job.knownAt > age);
    if (old.length === 0) return;
    const pipeline = this.#client.pipeline();
    for (const { id } of old)
      pipeline.hmget(this.#keys.job(id), "finishedOn", "failedReason", "data");
    const replies = (await pipeline.exec()) ?? [];
    for (const [at, job] of old.entries()) {
      const [error, fields] = replies[at] as [Error | null, (string | null)[]];
      if (error) continue;
      const [finishedOn, reason, data] = fields;
      job.knownAt = now;
      // Since the first look at which it was missing: looks may come faster than reads.
      if (data === null) this.#missing.set(job, this.#missing.get(job) ?? rounds());
      else if (finishedOn !== null && reason !== null) {
        this.#events.onFailed(job, reason!);
        await this.#queue.remove(job.id);
      }
    }
  }

  /** Reports have been read. One that was added before its job was removed has come by the second read after that was seen. */
  afterRound(rounds: number): void {
    for (const [job, since] of this.#missing) {
      if (rounds < since + 2) continue;
      this.#missing.delete(job);
      this.#events.onMissing(job);
    }
  }

  /** The job has been reported. */
  forget(job: MappedJob): void {
    this.#missing.delete(job);
  }
}
