/** Jobs whose ends BullMQ treats in its own way, or cannot write down: none is held for ever, and none is counted wrongly. */
import { existsSync, readFileSync } from "node:fs";
import type { Job, JobsOptions } from "bullmq";
import { expect, test } from "vitest";
import { mail, Unusual } from "../fixtures/queue/unusual.mjs";
import { describeWithRedis } from "../support/redis-server.js";
import { rejection } from "../support/rejection.js";
import { servedQueues } from "../support/served-queue.js";
import { temporaryDirectory } from "../support/temporary.js";
import { until } from "../support/until.js";

describeWithRedis("a job of a queue worker", () => {
  const queues = servedQueues();
  const add = (data: object, options?: JobsOptions) =>
    queues.add("unusual@1", "unusual@1", data, options);
  const failed = async (job: Job): Promise<Job> => {
    await rejection(queues.result(job));
    return (await queues.queue(job.queueName).getJob(job.id!)) as Job;
  };

  test.each([
    ["of a type that nobody knows", { type: "mine" }, "Unknown backoff strategy mine."],
    ["with the name of a method", { type: "toString" }, ""],
  ])("with a `backoff` %s fails, once, and says why", async (_, backoff, why) => {
    const { worker } = await queues.serve([new Unusual()]);
    const log = logFile();
    const job = await failed(await add({ log, throws: "RangeError" }, { attempts: 3, backoff }));
    expect(job.failedReason).toContain(`(not tried again: ${why}`);
    expect(job.stacktrace).toHaveLength(1);
    expect(job.stacktrace![0]).toMatch(/^RangeError\b.*\n {4}at .*unusual\.mjs/);
    expect(linesOf(log)).toEqual(["1"]);
    await until(() => worker.stats().held === 0);
    expect(worker.stats().jobs).toMatchObject({ failed: 1, lost: 0, refused: 0 });
  });

  test.each(["DelayedError", "WaitingError", "WaitingChildrenError"])(
    "that throws BullMQ's %s, which only one that can move its job may, fails",
    async (throws) => {
      const { worker } = await queues.serve([new Unusual()]);
      const log = logFile();
      const job = await failed(await add({ log, throws }, { attempts: 2 }));
      expect(job.failedReason).toMatch(
        /^The job threw \w+: .*, which is for processors that have moved their job: .* `attempts` and `backoff`/,
      );
      expect(linesOf(log)).toEqual(["1", "2"]);
      await until(() => worker.stats().held === 0);
    },
  );

  test("that throws BullMQ's RateLimitError is run later, and has not failed", async () => {
    const { worker } = await queues.serve([new Unusual()]);
    await queues.queue("unusual@1").setGlobalRateLimit(100, 50);
    const log = logFile();
    const jobs = [];
    for (let n = 0; n < 4; n += 1)
      jobs.push(await add({ log, throws: "RateLimitError", times: 8 }));
    for (const result of await Promise.all(jobs.map((job) => queues.result(job))))
      expect(result).toBeGreaterThan(8);
    await until(() => worker.stats().held === 0);
    const { jobs: counted, items } = worker.stats();
    expect(counted).toMatchObject({ succeeded: 4, failed: 0, lost: 0, refused: 0, returned: 8 });
    expect(items).toEqual({ succeeded: 4, failed: 0 });
  });

  test.each([{}, { pool: false }])(
    "that returns nothing has succeeded, with %j",
    async (options) => {
      await queues.serve([mail], options);
      const log = logFile();
      const job = await queues.add("mail@1", "mail@1", { log }, { attempts: 3 });
      expect(await queues.result(job)).toBeNull();
      expect(linesOf(log)).toEqual(["sent"]);
    },
  );

  test("whose result JSON cannot keep fails with no advice that cannot be followed", async () => {
    await queues.serve([mail]);
    const job = await failed(
      await queues.add("mail@1", "mail@1", { log: logFile(), gives: "a map" }),
    );
    expect(job.failedReason).toMatch(
      /^The job returned an instance of Map, expected a JSON value or a Uint8Array/,
    );
  });
});

function logFile(): string {
  return `${temporaryDirectory()}/log`;
}

function linesOf(file: string): string[] {
  return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [];
}
