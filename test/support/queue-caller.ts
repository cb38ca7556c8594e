/** What a program that maps does with a queue, by hand: adds jobs, reads reports, aborts. */
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { afterEach } from "vitest";
import { type BatchOptions, readReport, recordBatch } from "../../src/queue/batch-record.js";
import { Keys } from "../../src/queue/bullmq/keys.js";
import type { ItemOutcome } from "../../src/pool/engine.js";
import { vi } from "vitest";
import { SOON } from "./soon.js";

export interface Entry {
  readonly job: string;
  readonly report: string | undefined;
}

export class Caller {
  readonly client: Redis;
  readonly queue: Queue;
  readonly keys: Keys;
  readonly stream: string;

  constructor(url: string, queue = "q") {
    this.client = new Redis(url, { maxRetriesPerRequest: null });
    this.client.on("error", () => {});
    this.queue = new Queue(queue, { connection: this.client });
    this.queue.on("error", () => {});
    this.keys = new Keys("bull", queue);
    this.stream = this.keys.reports("caller");
  }

  /** Makes the stream for reports. */
  async open(): Promise<void> {
    await this.client.xadd(this.stream, "*", "began", "1");
  }

  async addBatch(id: string, items: readonly unknown[], options: Partial<BatchOptions> = {}) {
    const tasks = items.map((item, index) => ({ index, item, attempt: 1 }));
    const record = recordBatch(tasks, this.stream, {
      format: "json",
      timeout: undefined,
      results: true,
      runs: false,
      singly: false,
      ...options,
    });
    await this.queue.add("w@1", record, { jobId: id, removeOnComplete: true, removeOnFail: true });
  }

  /** All entries of a job so far. */
  async entries(job: string): Promise<Entry[]> {
    const all = await this.client.xrange(this.stream, "-", "+");
    return all
      .map(([, words]) => ({
        job: words[words.indexOf("job") + 1] as string,
        report: words.includes("report") ? words[words.indexOf("report") + 1] : undefined,
      }))
      .filter((entry) => entry.job === job);
  }

  async entry(job: string): Promise<Entry> {
    return await vi.waitFor(async () => {
      const [entry] = await this.entries(job);
      if (!entry) throw new Error(`No entry of ${job} yet`);
      return entry;
    }, SOON);
  }

  async outcomes(job: string, length: number): Promise<readonly ItemOutcome[]> {
    return readReport((await this.entry(job)).report!, length).outcomes;
  }

  async abort(job: string, places?: readonly number[]): Promise<void> {
    await this.client.publish(this.keys.aborts, JSON.stringify({ job, places }));
  }

  /** Resolves once BullMQ has nothing of the job. */
  async gone(job: string): Promise<void> {
    await vi.waitFor(async () => {
      if ((await this.client.exists(this.keys.job(job))) !== 0) throw new Error(`${job} is there`);
    }, SOON);
  }

  async close(): Promise<void> {
    await this.queue.close();
    this.client.disconnect();
  }
}

const open = new Set<Caller>();

afterEach(async () => {
  await Promise.all([...open].map((caller) => caller.close()));
  open.clear();
});

export async function openCaller(url: string, queue?: string): Promise<Caller> {
  const caller = new Caller(url, queue);
  open.add(caller);
  await caller.open();
  return caller;
}
