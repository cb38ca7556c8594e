/** Queue workers of a test and the queues that they serve, as other code sees them: through BullMQ. All are closed after each test. */
import { Queue, QueueEvents, type Job, type JobsOptions } from "bullmq";
import { QueueWorker, type NamedWorker, type QueueWorkerOptions } from "forkmap/bullmq";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { type RedisServer, startRedis } from "./redis-server.js";

export interface ServedQueues {
  readonly server: RedisServer;
  /** Begins the keys of this test. */
  readonly prefix: string;
  /** Options of BullMQ, and of a `QueueWorker` that is quick to notice and not stopped by signals. */
  readonly options: QueueWorkerOptions & { readonly connection: string; readonly prefix: string };
  queue(name: string): Queue;
  /** Adds a job, as any code would. */
  add(queue: string, name: string, data: unknown, options?: JobsOptions): Promise<Job>;
  /** The result of a job; rejects with an error that has its message. */
  result(job: Job): Promise<unknown>;
  /** Makes a queue worker, runs it, and waits until it takes jobs. */
  serve(workers: readonly NamedWorker[], options?: QueueWorkerOptions): Promise<Serving>;
}

export interface Serving {
  readonly worker: QueueWorker;
  /** Settles as `run`. */
  readonly ended: Promise<void>;
}

let tests = 0;

/** For tests within `describeWithRedis`. */
export function servedQueues(): ServedQueues {
  let server: RedisServer;
  let prefix: string;
  const closers: (() => Promise<unknown>)[] = [];
  const queues = new Map<string, Queue>();
  const events = new Map<string, QueueEvents>();
  beforeAll(async () => {
    server = await startRedis();
  });
  beforeEach(() => {
    tests += 1;
    prefix = `test-${tests}`;
  });
  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close();
    queues.clear();
    events.clear();
  });
  afterAll(() => server.stop());
  const connection = () => ({ host: "127.0.0.1", port: server.port });
  const self: ServedQueues = {
    get server() {
      return server;
    },
    get prefix() {
      return prefix;
    },
    get options() {
      return { connection: server.url, prefix, processes: 2, signals: false, crashTimeout: 5000 };
    },
    queue(name) {
      let queue = queues.get(name);
      if (!queue) {
        const made = new Queue(name, { connection: connection(), prefix });
        // Each result that is awaited has one.
        made.setMaxListeners(0);
        closers.push(() => made.close());
        queues.set(name, (queue = made));
      }
      return queue;
    },
    async add(queue, name, data, options) {
      return await self.queue(queue).add(name, data, options);
    },
    async result(job) {
      let all = events.get(job.queueName);
      if (!all) {
        // From the first event on: by default it would miss those that come before it listens.
        const from = { lastEventId: "0-0" };
        const made = new QueueEvents(job.queueName, { connection: connection(), prefix, ...from });
        made.setMaxListeners(0);
        closers.push(() => made.close());
        events.set(job.queueName, (all = made));
      }
      return await job.waitUntilFinished(all, 60_000);
    },
    async serve(workers, options = {}) {
      const worker = new QueueWorker(workers, { ...self.options, ...options });
      const ended = worker.run();
      ended.catch(() => {});
      closers.push(async () => {
        worker.kill();
        await ended.catch(() => {});
      });
      await worker.ready();
      return { worker, ended };
    },
  };
  return self;
}
