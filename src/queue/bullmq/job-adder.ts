/** Adds jobs to the queue: those of one turn of the event loop at once. */
import type { Queue } from "bullmq";
import type { BatchRecord } from "../batch-record.js";
import type { MappedJob } from "./mapped-job.js";
import type { NamedRun } from "./named-run.js";

/** Records of jobs that failed as a whole are read by the caller; this is for one that was killed, in s. */
const KEEP_FAILED_S = 3600;

export interface NewJob {
  readonly job: MappedJob;
  readonly record: BatchRecord;
  readonly run: NamedRun | undefined;
}

export interface AdderEvents {
  onAdded(job: MappedJob): void;
  /** The server has refused them. */
  onRefused(jobs: readonly MappedJob[], error: unknown): void;
}

export class JobAdder {
  readonly #queue: Queue;
  readonly #worker: string;
  readonly #events: AdderEvents;
  readonly #next: NewJob[] = [];

  constructor(queue: Queue, worker: string, events: AdderEvents) {
    this.#queue = queue;
    this.#worker = worker;
    this.#events = events;
  }

  add(job: NewJob): void {
    this.#next.push(job);
    if (this.#next.length === 1) queueMicrotask(() => void this.#flush());
  }

  async #flush(): Promise<void> {
    const jobs = this.#next.splice(0);
    try {
      await Promise.all(jobs.map(async ({ run, job }) => run?.record(job.id, job.batch)));
      await this.#queue.addBulk(jobs.map((each) => this.#bulk(each)));
      for (const { job } of jobs) {
        job.isAdded = true;
        this.#events.onAdded(job);
      }
    } catch (error) {
      this.#events.onRefused(
        jobs.map(({ job }) => job),
        error,
      );
    }
  }

  #bulk({ job, record }: NewJob) {
    const opts = {
      jobId: job.id,
      attempts: 1,
      removeOnComplete: true,
      removeOnFail: { age: KEEP_FAILED_S },
      stackTraceLimit: 1,
    };
    return { name: this.#worker, data: record, opts };
  }
}
