/** A queue with its consumer in a process of its own, and the jobs that a producer of plain BullMQ adds to it and awaits. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Queue, QueueEvents } from "bullmq";

/** @param {string} program - file name of the consumer, without its extension */
export async function startConsumer(program, kind, queue, connection) {
  const file = fileURLToPath(new URL(`${program}.mjs`, import.meta.url));
  const child = fork(file, [kind, queue, JSON.stringify(connection)]);
  const exited = once(child, "exit");
  const ended = exited.then(([code, signal]) => {
    throw new Error(`${program} (${kind}) ended with ${signal ?? `exit code ${code}`}`);
  });
  ended.catch(() => {});
  await Promise.race([once(child, "message"), ended]);
  return {
    ended,
    async close() {
      child.disconnect();
      await exited;
    },
  };
}

/** Adds jobs and learns of their ends by events: one listener, which is faster than a `waitUntilFinished` for each job. */
export class Producer {
  #queue;
  #events;
  #waiting = new Map();
  #count = 0;

  constructor(queue, connection) {
    this.#queue = new Queue(queue, { connection });
    // From the beginning: an event that comes before the first read must not be lost.
    this.#events = new QueueEvents(queue, { connection, lastEventId: "0-0" });
    this.#events.on("completed", ({ jobId, returnvalue }) => {
      this.#waiting.get(jobId)?.resolve(returnvalue);
      this.#waiting.delete(jobId);
    });
    this.#events.on("failed", ({ jobId, failedReason }) =>
      this.#waiting.get(jobId)?.reject(new Error(failedReason)),
    );
  }

  /** @returns {Promise<unknown[]>} the return values, in the order of the jobs */
  async run(name, datas) {
    const jobs = datas.map((data) => ({ name, data, opts: this.#options() }));
    const results = jobs.map(({ opts }) => this.#result(opts.jobId));
    await this.#queue.addBulk(jobs);
    return await Promise.all(results);
  }

  async runOne(name, data) {
    const opts = this.#options();
    const result = this.#result(opts.jobId);
    await this.#queue.add(name, data, opts);
    return await result;
  }

  async close() {
    await Promise.all([this.#queue.close(), this.#events.close()]);
  }

  #options() {
    this.#count += 1;
    return { jobId: `job-${this.#count}`, removeOnComplete: true, removeOnFail: true };
  }

  #result(id) {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }
}
