/** The user's code around jobs: it sees them, may skip them, put another result in place of theirs, and fail them. */
import { describe, expect, test } from "vitest";
import { Parallel } from "forkmap";
import { bullmq, type Middleware } from "forkmap/bullmq";
import { runWithin, type ServedJob } from "../../src/queue/middleware.js";
import { Doubles, Works } from "../fixtures/queue/served.mjs";
import { describeWithRedis } from "../support/redis-server.js";
import { rejection } from "../support/rejection.js";
import { servedQueues } from "../support/served-queue.js";

const job: ServedJob = {
  id: "1",
  queue: "q",
  name: "n",
  attempt: 1,
  data: 1,
  items: undefined,
  signal: new AbortController().signal,
};

describe("middleware", () => {
  const run = (all: readonly Middleware[], work: () => Promise<unknown> = async () => "done") =>
    runWithin(all, job, work);

  test("is called from the outside to the inside, and sees the result on the way back", async () => {
    const seen: unknown[] = [];
    const layer =
      (name: string): Middleware =>
      async (given, next) => {
        seen.push(`${name} of ${given.id}`);
        const result = await next();
        seen.push([name, result]);
        return `${name}(${String(result)})`;
      };
    expect(await run([layer("a"), layer("b")])).toBe("a(b(done))");
    expect(seen).toEqual(["a of 1", "b of 1", ["b", "done"], ["a", "b(done)"]]);
  });

  test("that returns nothing leaves the result as it is, also if it does not wait", async () => {
    expect(await run([async (_, next) => void (await next())])).toBe("done");
    expect(await run([(_, next) => void next()])).toBe("done");
    const fails = async () => {
      await new Promise(setImmediate);
      throw new Error("late");
    };
    expect((await rejection(run([(_, next) => void next()], fails))).message).toBe("late");
  });

  test("that does not call `next` skips the job", async () => {
    expect(await run([() => undefined])).toBeUndefined();
    expect(await run([() => "instead"])).toBe("instead");
  });

  test("may deal with an error, or throw one, but never before the job has ended", async () => {
    const fails = () => Promise.reject(new Error("failed"));
    const swallows: Middleware = async (_, next) => {
      try {
        await next();
      } catch {
        // Dealt with.
      }
    };
    expect(await run([swallows], fails)).toBeUndefined();
    let hasEnded = false;
    const slow = async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      hasEnded = true;
    };
    const throws: Middleware = (_, next) => {
      void next();
      throw new Error("refused");
    };
    expect((await rejection(run([throws], slow))).message).toBe("refused");
    expect(hasEnded).toBe(true);
  });

  test("may call `next` once", async () => {
    const twice: Middleware = async (_, next) => {
      await next();
      await next();
    };
    expect((await rejection(run([twice]))).message).toMatch(/call next\(\) once/);
  });
});

describeWithRedis("a queue worker", () => {
  const queues = servedQueues();

  test("runs middleware around jobs of other code", async () => {
    const seen: unknown[] = [];
    await queues.serve([new Doubles()], {
      middleware: [
        async ({ name, queue, attempt, data, items }, next) => {
          const { n } = data as { n: number };
          if (n === 1) return;
          if (n === 2) throw new Error("not this one");
          seen.push({ name, queue, attempt, data, items });
          if (n === 3) return await next().then((result) => `result ${String(result)}`);
          return await next();
        },
      ],
    });
    const results = [];
    for (const n of [1, 3, 4]) {
      results.push(await queues.result(await queues.add("doubles@1", "doubles@1", { n })));
    }
    expect(results).toEqual([null, "result 6", 8]);
    const refused = await queues.add("doubles@1", "doubles@1", { n: 2 });
    expect((await rejection(queues.result(refused))).message).toBe("not this one");
    const facts = { name: "doubles@1", queue: "doubles@1", attempt: 1, items: undefined };
    expect(seen).toEqual([
      { ...facts, data: { n: 3 } },
      { ...facts, data: { n: 4 } },
    ]);
  });

  test("runs middleware around the items of a call, which fail together if it refuses them", async () => {
    const seen: unknown[] = [];
    await queues.serve([new Doubles()], {
      middleware: [
        async ({ items, data }, next) => {
          const first = (items![0] as { n: number }).n;
          if (first === 50) return;
          if (first === 60) throw new Error("not these");
          seen.push([data, await next()]);
        },
      ],
    });
    const { connection, prefix } = queues.options;
    await using parallel = new Parallel(new Doubles(), { engine: bullmq({ connection, prefix }) });
    expect(await parallel.mapProcesses([{ n: 1 }])).toEqual([2]);
    expect(seen).toEqual([[undefined, [{ status: "fulfilled", value: 2 }]]]);
    expect((await rejection(parallel.mapProcesses([{ n: 60 }]))).message).toMatch(
      /Item 0 failed: Error: not these/,
    );
    expect((await rejection(parallel.mapProcesses([{ n: 50 }]))).message).toMatch(
      /Item 0 failed: Error: A middleware of the machine has skipped it/,
    );
  });

  test("asks a dispatcher which worker a job is for", async () => {
    const doubles = new Doubles();
    const dispatch = ({ name }: ServedJob) => {
      if (name === "double") return doubles;
      return name === "work" ? "works@1" : (undefined as never);
    };
    const { worker, ended } = await queues.serve([new Works(), doubles], {
      queues: ["tasks"],
      dispatcher: dispatch,
    });
    const add = async (name: string, data: unknown) =>
      await queues.result(await queues.add("tasks", name, data));
    expect(await add("double", { n: 21 })).toBe(42);
    expect(await add("work", { echo: "x" })).toBe("x");
    expect((await rejection(add("other", {}))).message).toMatch(
      /^Expected the dispatcher to return a worker of this machine, or its name, for job \d+ of queue "tasks", got undefined$/,
    );
    worker.stop();
    await ended;
    await queues.serve([new Works()], {
      queues: ["tasks"],
      dispatcher: { dispatch: () => doubles },
    });
    expect((await rejection(add("double", {}))).message).toMatch(
      /chose a worker that was not given/,
    );
  });
});
