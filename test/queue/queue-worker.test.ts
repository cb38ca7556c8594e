/** A queue worker takes jobs that any code has added, runs them in children, and acknowledges what became of them. */
import type { Job } from "bullmq";
import { CommandWorker, Parallel } from "forkmap";
import { bullmq } from "forkmap/bullmq";
import { describe, expect, test } from "vitest";
import { AlsoWorks, Doubles, reverse, Silent, Works } from "../fixtures/queue/served.mjs";
import { describeWithRedis } from "../support/redis-server.js";
import { rejection } from "../support/rejection.js";
import { servedQueues } from "../support/served-queue.js";
import { until } from "../support/until.js";

interface Where {
  readonly pid: number;
  readonly most: number;
  readonly attempt: number;
  readonly start: number;
  readonly end: number;
}

describeWithRedis("a queue worker", () => {
  const queues = servedQueues();
  const add = (data: unknown, options = {}) => queues.add("works@1", "works@1", data, options);
  const jobOf = async ({ id }: Job) => (await queues.queue("works@1").getJob(id!)) as Job;
  const work = async (data: unknown, options = {}) =>
    (await queues.result(await add(data, options))) as Where;

  describe("acknowledges", () => {
    test("a job that succeeds with its result, which was made in a child", async () => {
      const { worker } = await queues.serve([new Works()]);
      expect(await work({ echo: { a: [1, "b"] } })).toEqual({ a: [1, "b"] });
      const { pid } = await work({});
      expect(pid).not.toBe(process.pid);
      expect(worker.stats()).toMatchObject({
        state: "serving",
        isConnected: true,
        queues: ["works@1"],
        workers: ["works@1"],
        slots: 2,
        jobs: { succeeded: 2, failed: 0 },
        items: { succeeded: 2, failed: 0 },
      });
    });

    test("a job whose worker returns nothing", async () => {
      await queues.serve([new Silent()]);
      expect(await queues.result(await queues.add("silent@1", "silent@1", {}))).toBeNull();
    });

    test("a job that fails with class, message and stack of what its worker threw", async () => {
      const { worker } = await queues.serve([new Works()]);
      const job = await add({ fail: "no such file" });
      expect(await rejection(queues.result(job))).toMatchObject({ message: "no such file" });
      const failed = await jobOf(job);
      expect(failed.failedReason).toBe("no such file");
      expect(failed.stacktrace![0]).toMatch(/^RangeError: no such file\n +at .*served\.mjs/);
      await until(() => worker.stats().jobs.failed === 1);
    });

    test("a job of an unknown worker negatively, with those that are served", async () => {
      await queues.serve([new Works(), new Doubles()], { queues: ["mixed"] });
      const job = await queues.add("mixed", "resize@9", {});
      expect(await rejection(queues.result(job))).toMatchObject({
        message:
          'No worker of this machine is called "resize@9". It serves: "works@1", "doubles@1"',
      });
    });

    test("the jobs of each worker in its own queue, and of all in one, with a function among them", async () => {
      const workers = [new Works(), new Doubles(), reverse];
      const first = await queues.serve(workers);
      const own = await queues.add("reverse@1", "reverse@1", "abc");
      expect(await queues.result(own)).toBe("cba");
      first.worker.stop();
      await first.ended;
      await queues.serve(workers, { queues: ["one", "two"] });
      const jobs = await Promise.all([
        queues.add("one", "doubles@1", { n: 4 }),
        queues.add("two", "reverse@1", "xyz"),
        queues.add("two", "works@1", { echo: 1 }),
      ]);
      expect(await Promise.all(jobs.map((job) => queues.result(job)))).toEqual([8, "zyx", 1]);
    });
  });

  test("runs as many items at once as fibers and processes, and no more", async () => {
    await queues.serve([new Works()], { processes: 1, fibers: 3 });
    const all = await Promise.all(Array.from({ length: 9 }, () => work({ ms: 100 })));
    expect(Math.max(...all.map(({ most }) => most))).toBe(3);
    expect(new Set(all.map(({ pid }) => pid)).size).toBe(1);
  });

  test("runs no more at once over several workers", async () => {
    await queues.serve([new Works(), new AlsoWorks()], {
      processes: 1,
      fibers: 3,
      queues: ["mixed"],
      prefetch: 20,
    });
    const jobs = await Promise.all(
      Array.from({ length: 16 }, (_, n) =>
        queues.add("mixed", n % 2 === 0 ? "works@1" : "also-works@1", { ms: 100 }),
      ),
    );
    const all = (await Promise.all(jobs.map((job) => queues.result(job)))) as Where[];
    const most = Math.max(
      ...all.map(
        ({ start }) => all.filter((each) => each.start <= start && each.end > start).length,
      ),
    );
    expect(most).toBe(3);
    expect(new Set(all.map(({ pid }) => pid)).size).toBe(2);
  });

  test("has a fresh child for each job with `pool: false`", async () => {
    await queues.serve([new Works()], { pool: false, processes: 2 });
    const all = await Promise.all(Array.from({ length: 6 }, () => work({})));
    expect(new Set(all.map(({ pid }) => pid)).size).toBe(6);
    expect(all.map(({ most }) => most)).toEqual([1, 1, 1, 1, 1, 1]);
  });

  test("fails a job that kills its child every time after its attempts, and says how the child ended", async () => {
    const { worker } = await queues.serve([new Works()]);
    const poison = await add({ kill: "SIGKILL" }, { attempts: 3 });
    const exits = await add({ exit: 7 });
    expect((await rejection(queues.result(poison))).message).toMatch(/killed by SIGKILL/);
    expect((await rejection(queues.result(exits))).message).toMatch(/process\.exit\(7\)/);
    const failed = await jobOf(poison);
    expect(failed.attemptsMade).toBe(3);
    expect(failed.stacktrace![0]).toMatch(/^DeadChildError: /);
    expect(await work({ echo: "alive" })).toBe("alive");
    await until(() => worker.stats().items.failed === 4);
  });

  test("tells the worker which attempt it is, and kills a child that takes too long", async () => {
    await queues.serve([new Works()], { timeout: 300 });
    const spins = await add({ spin: true });
    expect((await rejection(queues.result(spins))).message).toMatch(/timed out after 300 ms/);
    expect((await work({})).attempt).toBe(1);
  });

  describe("when it is stopped", () => {
    test("finishes and acknowledges all that it took, and can be run again", async () => {
      const { worker, ended } = await queues.serve([new Works()], { processes: 1, prefetch: 4 });
      const jobs = await Promise.all(Array.from({ length: 10 }, () => add({ ms: 200, echo: 1 })));
      await until(() => worker.stats().held === 4);
      worker.stop();
      worker.stop();
      expect(worker.stats().state).toBe("stopping");
      await ended;
      expect(worker.stats()).toMatchObject({ state: "idle", held: 0, pids: [] });
      const counts = await queues.queue("works@1").getJobCounts();
      expect(counts["active"]).toBe(0);
      expect(counts["completed"]).toBe(worker.stats().jobs.succeeded);
      expect(counts["completed"]! + counts["waiting"]!).toBe(10);
      expect(counts["completed"]).toBeLessThan(10);

      const again = worker.run();
      await worker.ready();
      expect(await rejection(worker.run())).toMatchObject({
        message: "This QueueWorker runs already: await run() before another",
      });
      await Promise.all(jobs.map((job) => queues.result(job)));
      worker.stop();
      await again;
      expect(worker.stats().jobs.succeeded).toBe(10);
    });

    test("ends at once if it is stopped before it was ready", async () => {
      const { worker, ended } = await queues.serve([new Works()]);
      worker.stop();
      await ended;
      const again = worker.run();
      const ready = rejection(worker.ready());
      worker.stop();
      await again;
      expect((await ready).message).toBe("This QueueWorker was stopped before it was ready");
    });

    test("gives everything back at once when it is killed", async () => {
      const first = await queues.serve([new Works()], {
        processes: 1,
        prefetch: 3,
        crashTimeout: 60_000,
      });
      const jobs = await Promise.all(
        Array.from({ length: 3 }, () => add({ ms: 60_000, echo: "late" })),
      );
      await until(() => first.worker.stats().held === 3);
      const [pid] = first.worker.stats().pids;
      const start = performance.now();
      first.worker.kill();
      await first.ended;
      const { waiting = 0, active = 0 } = await queues.queue("works@1").getJobCounts();
      expect({ waiting, active }).toEqual({ waiting: 3, active: 0 });
      // Long before a lock ends, after which another machine would have them anyway.
      expect(performance.now() - start).toBeLessThan(20_000);
      expect(() => process.kill(pid!, 0)).toThrow("ESRCH");
      expect(first.worker.stats().jobs).toMatchObject({ returned: 3, failed: 0, active: 0 });
      for (const job of jobs) await job.updateData({ echo: "soon" });
      await queues.serve([new Works()]);
      expect(await Promise.all(jobs.map((job) => queues.result(job)))).toEqual([
        "soon",
        "soon",
        "soon",
      ]);
    });

    test("gives back what has not ended when it is killed while it stops", async () => {
      const { worker, ended } = await queues.serve([new Works()], { processes: 1 });
      await add({ ms: 60_000 });
      await until(() => worker.stats().jobs.active === 1);
      worker.stop();
      worker.kill();
      await ended;
      expect(await queues.queue("works@1").getWaitingCount()).toBe(1);
    });

    test("does not wait for the pause of items that their caller has aborted", async () => {
      const { worker, ended } = await queues.serve([new Busy()], { processes: 1 });
      const { connection, prefix } = queues.options as { connection: string; prefix: string };
      const engine = bullmq({ connection, prefix, crashTimeout: 5000 });
      const parallel = new Parallel(new Busy(), { engine });
      const stop = new AbortController();
      const call = parallel.mapProcesses(["a", "b"], { batch: 2, signal: stop.signal });
      const refused = rejection(call);
      await until(() => worker.stats().jobs.active === 1);
      // Both items have been throttled by then, for ten minutes.
      await new Promise((resolve) => setTimeout(resolve, 1500));
      stop.abort(new Error("enough"));
      expect(await refused).toMatchObject({ message: "enough" });
      await parallel.close();
      worker.stop();
      await ended;
    });
  });
});

/** Throttles all that it is asked. */
class Busy extends CommandWorker<string, string> {
  static workerName = "busy@1";

  constructor() {
    const id = 's/.*"id":"\\([0-9]*\\)".*/\\1/';
    const answer =
      '"{\\"id\\":\\"$(echo "$line" | sed \'' +
      id +
      '\')\\",\\"status\\":\\"throttled\\",\\"retry_after_secs\\":600}"';
    super({ argv: ["sh", "-c", `while read -r line; do echo ${answer}; done`] });
  }
}
