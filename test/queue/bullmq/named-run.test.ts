/** Runs with a name, which another program continues: what is found again, what is refused, and what stays in the server. */
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { EngineError, Parallel } from "forkmap";
import { bullmq } from "forkmap/bullmq";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Keys } from "../../../src/queue/bullmq/keys.js";
import { NamedRun } from "../../../src/queue/bullmq/named-run.js";
import { Counted, Obeys, Same } from "../../fixtures/queue/counted.mjs";
import { type Counts, countedItems, type Machine, startMachine } from "../../support/machines.js";
import { openCaller } from "../../support/queue-caller.js";
import { describeWithRedis, type RedisServer, startRedis } from "../../support/redis-server.js";
import { rejection } from "../../support/rejection.js";
import { fixture, startScript } from "../../support/run-script.js";

const CRASH_TIMEOUT_MS = 3000;

describeWithRedis("a named run", () => {
  let redis: RedisServer;
  let machine: Machine;
  let counts: Counts;
  const open: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    counts = countedItems();
    machine = await startMachine(
      { connection: redis.url, processes: 2 },
      { ...counts.env, MS: "20" },
    );
  });
  afterAll(async () => {
    await machine.end();
    counts.remove();
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.close()));
  });

  function numbers() {
    const engine = bullmq({ connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS });
    const parallel = new Parallel<number, number>(new Counted() as never, { engine });
    open.push(parallel);
    return parallel;
  }
  function orders() {
    const engine = bullmq({ connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS });
    const parallel = new Parallel<string, string>(new Obeys() as never, { engine });
    open.push(parallel);
    return parallel;
  }
  async function keysOf(run: string): Promise<string[]> {
    const keys = (await redis.command("KEYS", `*${run}*`)) as string[];
    return keys.map((key) => key.replace(/.*:forkmap:/, "")).toSorted();
  }
  /** Runs a program that maps the numbers below `count`, and kills it once some are done. */
  async function killedProgram(run: string, count: number): Promise<void> {
    const engine = { connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS };
    const before = counts.read().size;
    const args = [engine, { run, batch: 2 }, count].map((each) => JSON.stringify(each));
    const program = startScript(fixture("queue/producer.mjs"), { args });
    while (counts.read().size < before + count / 4) await pause(10);
    program.kill("SIGKILL");
    await once(program, "exit");
  }

  test("is continued after its program was killed, and nothing of it is left", async () => {
    await killedProgram("continued", 200);
    expect(await keysOf("continued")).toEqual([
      "batches:continued",
      "lease:continued",
      "reports:continued",
    ]);
    const items = Array.from({ length: 200 }, (_, n) => n);
    const results = await numbers().mapProcesses(items, { run: "continued" });
    expect(results).toEqual(items.map((n) => n * 2));
    expect([...counts.read().values()].every((count) => count === 1)).toBe(true);
    expect(await keysOf("continued")).toEqual([]);
  });

  test("expires from its first moment on, as its program may be killed at any", async () => {
    const { client } = await openCaller(redis.url);
    const keys = new Keys("bull", "counted@1");
    const run = await NamedRun.open(client, keys, "expiring", {
      crashTimeout: CRASH_TIMEOUT_MS,
      keepRun: 60_000,
      format: "json",
      worker: "counted@1",
      wantsResults: true,
      signal: new AbortController().signal,
    });
    expect(await keysOf("expiring")).toEqual([
      "batches:expiring",
      "lease:expiring",
      "reports:expiring",
    ]);
    for (const key of await client.keys("*expiring")) {
      expect(await client.pttl(key), key).toBeGreaterThan(0);
    }
    await run.close(true);
    expect(await keysOf("expiring")).toEqual([]);
  });

  test("of other items is refused, and goes on with its own", async () => {
    await killedProgram("changed", 400);
    const items = Array.from({ length: 400 }, (_, n) => n);
    const others = items.map((n) => (n === 3 ? 1000 : n));
    const error = await rejection(numbers().mapProcesses(others, { run: "changed" }));
    expect(error).toBeInstanceOf(EngineError);
    expect(error).toMatchObject({ reason: "changed" });
    expect((error as Error).message).toMatch(
      /^The run changed was begun with other items: item 3 has/,
    );
    // With fewer items, the rest is kept.
    expect(await numbers().mapProcesses(items.slice(0, 4), { run: "changed" })).toEqual([
      0, 2, 4, 6,
    ]);
    expect(await keysOf("changed")).toContain("reports:changed");
    const before = counts.read();
    expect(await numbers().mapProcesses(items, { run: "changed" })).toEqual(
      items.map((n) => n * 2),
    );
    // What was done before has not been done again, but for what was under way when it was refused.
    const again = [...counts.read()].filter(
      ([n, count]) => count > (before.get(n) ?? 0) && before.has(n),
    );
    expect(again.length).toBeLessThanOrEqual(40);
    expect(await keysOf("changed")).toEqual([]);
  });

  test("that another program continues is refused at once", async () => {
    const first = orders().mapProcesses(["sleep:3000", "a"], { run: "busy", batch: 1 });
    while ((await keysOf("busy")).length === 0) await pause(10);
    expect(
      await rejection(orders().mapProcesses(["sleep:3000", "a"], { run: "busy" })),
    ).toMatchObject({
      reason: "busy",
      message: expect.stringContaining(`the program with pid ${process.pid}`) as string,
    });
    expect(await first).toEqual(["slept 3000", "a"]);
  });

  test("keeps what has succeeded if an item fails, and runs that one again", async () => {
    const items = ["kept 1", "twice", "kept 2"];
    const options = { run: "failed", batch: 1, stopOnError: false };
    await rejection(orders().mapProcesses(items, options));
    expect(await keysOf("failed")).toEqual(["batches:failed", "reports:failed"]);
    const retried = { ...options, retries: 1, retryDelay: { min: 1 } };
    expect(await orders().mapProcesses(items, retried)).toEqual(["kept 1", "attempt 2", "kept 2"]);
    expect(counts.read().get("kept 1")).toBe(1);
    expect(counts.read().get("kept 2")).toBe(1);
    expect(await keysOf("failed")).toEqual([]);
  });

  test("of another worker is refused, and results that were dropped are not taken for results", async () => {
    const engine = bullmq({
      connection: redis.url,
      crashTimeout: CRASH_TIMEOUT_MS,
      queue: "obeys@1",
    });
    const same = new Parallel<string, string>(new Same() as never, { engine });
    open.push(same);
    const items = ["one", "two", "twice"];
    await rejection(orders().eachProcess(items, { run: "other", stopOnError: false }));
    const error = await rejection(same.mapProcesses(items, { run: "other" }));
    expect(error).toMatchObject({
      reason: "changed",
      message: expect.stringContaining(
        "The run other is one of obeys@1, and not of same@1",
      ) as string,
    });
    const retried = { run: "other", retries: 1, retryDelay: { min: 1 } };
    const results = await orders().mapProcesses(items, retried);
    expect(results).toEqual(["one", "two", "attempt 2"]);
  });

  test("is kept when it is aborted, and continued", async () => {
    const stop = new AbortController();
    const items = ["quick", "sleep:1500"];
    const call = rejection(
      orders().mapProcesses(items, { run: "aborted", batch: 1, signal: stop.signal }),
    );
    while (!counts.read().has("sleep:1500")) await pause(10);
    await pause(200);
    stop.abort(new Error("later"));
    expect(await call).toMatchObject({ message: "later" });
    expect(await orders().mapProcesses(items, { run: "aborted" })).toEqual(["quick", "slept 1500"]);
    expect(counts.read().get("quick")).toBe(1);
    expect(counts.read().get("sleep:1500")).toBe(2);
  });
});
