/** The verbs of a `Parallel` with an engine: items run on machines, and all is as with children of the program. */
import { readFileSync } from "node:fs";
import path from "node:path";
import {
  DeadChildError,
  ItemError,
  ItemTimeoutError,
  Parallel,
  ResultTypeError,
  StartError,
  type FinishInfo,
} from "forkmap";
import { bullmq } from "forkmap/bullmq";
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Counted, Obeys, Same } from "../../fixtures/queue/counted.mjs";
import { type Counts, countedItems, type Machine, startMachine } from "../../support/machines.js";
import { expectNoKeys } from "../../support/mapping.js";
import { describeWithRedis, type RedisServer, startRedis } from "../../support/redis-server.js";
import { rejection } from "../../support/rejection.js";
import { temporaryDirectory } from "../../support/temporary.js";

describeWithRedis("a Parallel with an engine", () => {
  let redis: RedisServer;
  let machine: Machine;
  let counts: Counts;
  const open: Parallel<never, unknown>[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    counts = countedItems();
    machine = await startMachine({ connection: redis.url, processes: 2, fibers: 2 }, counts.env);
  });
  afterAll(async () => {
    expect(await machine.end()).toBe(0);
    expect(machine.output()).toContain("stopped");
    counts.remove();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.close()));
    await expectNoKeys(redis);
  });

  function engine() {
    return bullmq({ connection: redis.url, crashTimeout: 3000 });
  }
  function parallelOf<Item, Result>(worker: never, options = {}): Parallel<Item, Result> {
    const parallel = new Parallel<Item, Result>(worker, { engine: engine(), ...options });
    open.push(parallel as Parallel<never, unknown>);
    return parallel;
  }

  test("gives the results in the order of the items, and says how many machines serve", async () => {
    const parallel = parallelOf<number, number>(new Counted() as never);
    const items = Array.from({ length: 5000 }, (_, n) => n);
    expect(await parallel.mapProcesses(items)).toEqual(items.map((n) => n * 2));
    expect(parallel.stats()).toMatchObject({
      machines: 1,
      items: { succeeded: 5000, failed: 0 },
      startMethod: undefined,
    });
  });

  test("runs each item once", async () => {
    const parallel = parallelOf<string, string>(new Obeys() as never);
    const items = Array.from({ length: 300 }, (_, n) => `once ${n}`);
    expect(await parallel.mapProcesses(items, { batch: 7 })).toEqual(items);
    expect([...counts.read()].filter(([item]) => item.startsWith("once"))).toEqual(
      expect.arrayContaining(items.map((item) => [item, 1])),
    );
  });

  test("has every verb", async () => {
    const parallel = parallelOf<number, number>(new Counted() as never);
    expect(await parallel.eachProcess([1, 2])).toBe(0);
    expect(await parallel.mapSettled([1])).toEqual([{ status: "fulfilled", value: 2 }]);
    expect(await parallel.some([0, 3])).toBe(true);
    expect(await parallel.every([0, 3])).toBe(false);
    expect(await parallel.find([0, 3, 4])).toBe(3);
    expect(await parallel.run(21)).toBe(42);
    expect(await Promise.all([1, 2, 3].map((n) => parallel.run(n)))).toEqual([2, 4, 6]);
    const read: number[] = [];
    for await (const each of parallel.stream([5, 6, 7])) read.push(each);
    expect(read).toEqual([10, 12, 14]);
    expect(await parallel.mapProcesses([])).toEqual([]);
    await parallel.ready();
  });

  test("keeps texts, bytes and, by structured clone, all values", async () => {
    const same = parallelOf<unknown, unknown>(new Same() as never);
    const texts = [
      "",
      "\n",
      "日本🙂",
      "\ud800",
      "x".repeat(50_000),
      '"\\',
      new Uint8Array([0, 255]),
      new Uint8Array(20_000),
    ];
    const results = await same.mapProcesses(texts);
    expect(results).toEqual(texts);
    const cloned = parallelOf<unknown, unknown>(new Same() as never, { serialization: "advanced" });
    const values = [
      new Map([["a", new Date(5)]]),
      new Set([1n]),
      undefined,
      Number.NaN,
      [undefined],
      Buffer.from("b"),
    ];
    expect(await cloned.mapProcesses(values)).toEqual(values);
  });

  test("endless input is pulled only as far as machines need it", async () => {
    const parallel = parallelOf<number, number>(new Counted() as never);
    let pulled = 0;
    function* naturals() {
      for (;;) yield (pulled += 1);
    }
    for await (const result of parallel.stream(naturals(), { batch: 1 })) if (result > 100) break;
    expect(pulled).toBeLessThan(500);
  });

  test("an error of an item is that of its machine: class, facts, cause with its own properties", async () => {
    const parallel = parallelOf<string, string>(new Obeys() as never);
    const error = await rejection(parallel.mapProcesses(["a", "throw:too far"]));
    expect(error).toBeInstanceOf(ItemError);
    expect(error).toMatchObject({ index: 1, attempt: 1, code: "ERR_PARALLEL_ITEM" });
    expect((error as ItemError).message).toMatch(
      /^Item 1 failed: RangeError: too far \(num \d, pid \d+ on .+\)$/,
    );
    expect((error as ItemError).machine).not.toBe("");
    expect((error as ItemError).cause).toBeInstanceOf(RangeError);
    expect((error as ItemError).cause).toMatchObject({
      code: "E_ORDERED",
      details: { order: "throw:too far" },
    });
    // The stack is that of the call, and not of this library.
    expect((error as Error).stack).toContain("map.test");
  });

  test("a child that dies, a timeout, a wrong result, and items and results that are too large, each cost one item", async () => {
    const parallel = parallelOf<string, string>(new Obeys() as never, { timeout: 2000 });
    const items = ["exit:3", "kill", "spin", "size:300000", "a", `b${"x".repeat(300_000)}`, "c"];
    const settled = await parallel.mapSettled(items, { batch: 3 });
    const reasons = settled.map((each) => (each.status === "rejected" ? each.reason : each.value));
    expect(reasons[0]).toBeInstanceOf(DeadChildError);
    expect(reasons[0]).toMatchObject({ exitCode: 3 });
    expect(reasons[1]).toMatchObject({ signal: "SIGKILL", name: "DeadChildError" });
    expect(reasons[2]).toBeInstanceOf(ItemTimeoutError);
    expect(reasons[3]).toBeInstanceOf(ItemError);
    expect((reasons[3] as Error).message).toMatch(
      /gave a result of 293 KiB as JSON, more than the 256 KiB/,
    );
    expect(reasons[4]).toBe("a");
    expect(reasons[5]).toBeInstanceOf(StartError);
    expect((reasons[5] as Error).message).toMatch(
      /^Item 5 could not be started: takes 293 KiB as JSON/,
    );
    expect(reasons[6]).toBe("c");
    const same = parallelOf<unknown, unknown>(new Same() as never);
    const mistyped = await rejection(same.mapProcesses([["no text"]]));
    expect(mistyped).toBeInstanceOf(ResultTypeError);
  });

  test("retries, hooks, journal, dedupe and trace mean the same", async () => {
    const parallel = parallelOf<string, string>(new Obeys() as never);
    const begun: number[] = [];
    const finished: [number, FinishInfo][] = [];
    const directory = temporaryDirectory();
    const trace = path.join(directory, "trace.json");
    const options = {
      retries: 1,
      retryDelay: { min: 1 },
      trace,
      journal: path.join(directory, "journal"),
      onStart: (_: string, index: number) => begun.push(index),
      onFinish: (_: string, index: number, __: string, info: FinishInfo) =>
        finished.push([index, info]),
    };
    const items = ["twice", "facts:1", "same", "same"];
    const results = await parallel.mapProcesses(items, { ...options, dedupe: true });
    expect(results[0]).toBe("attempt 2");
    expect(JSON.parse(results[1]!)).toMatchObject({ index: 1, attempt: 1, kind: "fork" });
    expect(results.slice(2)).toEqual(["same", "same"]);
    expect(begun).toEqual([0, 1, 2]);
    expect(finished.map(([index]) => index).toSorted()).toEqual([0, 1, 2, 3]);
    const [, first] = finished.find(([index]) => index === 0)!;
    expect(first).toMatchObject({ attempt: 2 });
    expect(first.pid).toBeGreaterThan(0);
    expect(first.duration).toBeGreaterThanOrEqual(0);
    const events = JSON.parse(readFileSync(trace, "utf8")) as { name: string }[];
    expect(events.filter(({ name }) => /^item \d+$/.test(name)).length).toBeGreaterThanOrEqual(3);
    // The second time, all is in the journal.
    const before = counts.read().get("same");
    expect(await parallel.mapProcesses(items, { ...options, dedupe: true })).toEqual(results);
    expect(counts.read().get("same")).toBe(before);
  });

  test("an abort kills what runs, and nothing of the call is left", async () => {
    const parallel = parallelOf<string, string>(new Obeys() as never);
    const stop = new AbortController();
    const items = Array.from({ length: 40 }, (_, n) => `sleep:${600_000 + n}`);
    const call = rejection(parallel.mapProcesses(items, { signal: stop.signal }));
    await until(() => counts.read().has("sleep:600000"));
    stop.abort(new Error("enough"));
    expect(await call).toMatchObject({ message: "enough" });
    // A job is acknowledged after the report of its end.
    while ((await redis.command("LLEN", "bull:obeys@1:active")) !== 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // The machine is free again.
    expect(await parallel.run("free")).toBe("free");
  });

  test("a signal of `run` ends its item alone", async () => {
    const parallel = parallelOf<string, string>(new Obeys() as never);
    const stop = new AbortController();
    const long = rejection(parallel.run("sleep:700000", { signal: stop.signal }));
    const others = ["x", "y"].map((each) => parallel.run(each));
    await until(() => counts.read().has("sleep:700000"));
    stop.abort(new Error("not this one"));
    expect(await long).toMatchObject({ message: "not this one" });
    expect(await Promise.all(others)).toEqual(["x", "y"]);
  });

  test("after an error no new item starts", async () => {
    const parallel = parallelOf<string, string>(new Obeys() as never);
    const items = ["throw:first", ...Array.from({ length: 2000 }, (_, n) => `rest ${n}`)];
    expect(await rejection(parallel.mapProcesses(items, { batch: 1 }))).toMatchObject({ index: 0 });
    const begun = [...counts.read().keys()].filter((item) => item.startsWith("rest"));
    expect(begun.length).toBeLessThan(200);
  });

  test("an item that can no longer travel when it is sent ends the call, as without an engine", async () => {
    let reads = 0;
    const fickle = {
      toJSON() {
        if ((reads += 1) > 1) throw new Error("second time");
        return 1;
      },
    };
    const parallel = parallelOf<unknown, number>(new Counted() as never);
    const error = await rejection(parallel.mapProcesses([1, fickle, 3]));
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toMatch(/^Item 1 is not a JSON value/);
  });

  test("jobs that the server has lost are added again", async () => {
    const parallel = parallelOf<string, string>(new Obeys() as never);
    const items = Array.from({ length: 30 }, (_, n) => `sleep:${150 + n}`);
    const call = parallel.mapProcesses(items, { batch: 1 });
    await until(() => counts.read().has("sleep:150"));
    const connection = new Redis(redis.url, { maxRetriesPerRequest: null });
    const queue = new Queue("obeys@1", { connection });
    await queue.drain();
    await queue.close();
    connection.disconnect();
    expect(await call).toEqual(items.map((item) => item.replace("sleep:", "slept ")));
  });

  test("an abort, and the end of a program, do not wait for a server that is away", async () => {
    const own = await startRedis();
    const gone = bullmq({ connection: own.url, crashTimeout: 1000 });
    const parallel = new Parallel<string, string>(new Obeys() as never, { engine: gone });
    const stop = new AbortController();
    const call = rejection(parallel.mapProcesses(["a", "b"], { signal: stop.signal }));
    await parallel.ready();
    await own.kill("SIGSTOP");
    stop.abort(new Error("enough"));
    expect(await call).toMatchObject({ message: "enough" });
    await parallel.close();
    await own.kill("SIGKILL");
  });

  test("refuses options of children, workers without a name, and threads", async () => {
    const given = { engine: engine() };
    expect(() => new Parallel(new Obeys(), { ...given, pool: 2 })).toThrow(
      /option `pool` is not for an `engine`/,
    );
    class Nameless extends Same {}
    expect(() => new Parallel(new Nameless(), given)).toThrow(
      /Expected the class Nameless to have a name that all machines know, such as `static workerName = "nameless@1"`/,
    );
    const parallel = parallelOf<string, string>(new Obeys() as never);
    expect(
      await rejection(parallel.mapProcesses(["a"], { limits: { memory: 1e9 } })),
    ).toMatchObject({
      name: "TypeError",
    });
    expect(await rejection(parallel.mapThreads(["a"]))).toMatchObject({ name: "TypeError" });
    const plain = new Parallel(new Obeys());
    expect(await rejection(plain.mapProcesses(["a"], { run: "r" }))).toMatchObject({
      message: expect.stringContaining("The option `run` needs an `engine`") as string,
    });
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}
