import { beforeAll, expect, it, vi } from "vitest";
import type { ServeEvent } from "../../../src/pool/engine.js";
import { serve } from "../../../src/queue/bullmq/serving.js";
import { obeyOrders } from "../../fixtures/queue/run-order.mjs";
import { openCaller } from "../../support/queue-caller.js";
import { startMachine } from "../../support/queue-machine.js";
import { describeWithRedis, type RedisServer, startRedis } from "../../support/redis-server.js";
import { SOON } from "../../support/soon.js";

describeWithRedis("a lock", () => {
  const crashTimeout = 1500;
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  const setUp = async () => {
    await server.command("flushall");
    return await openCaller(server.url);
  };
  const start = (engine: Readonly<Record<string, unknown>> = {}) =>
    startMachine({ engine: { connection: server.url, crashTimeout, ...engine } });

  it("is kept while the main loop is blocked for three times as long as it holds", async () => {
    const caller = await setUp();
    const first = await start();
    // An id too long for the table that the thread shares.
    const long = "long".repeat(100);
    await caller.addBatch(long, [{ ms: 2 * crashTimeout }]);
    await first.until("begun", long);
    await caller.addBatch("b", [{ blocks: 3 * crashTimeout }, { give: 2 }]);
    await first.until("begun", "b");
    const second = await start();
    expect(await caller.outcomes("b", 2)).toMatchObject([{ result: "done" }, { result: 2 }]);
    expect(await caller.outcomes(long, 1)).toMatchObject([{ result: "done" }]);
    await caller.gone("b");
    expect(first.has("lost")).toBe(false);
    expect(first.has("refused")).toBe(false);
    expect(second.has("begun")).toBe(false);
  });

  it("is kept by the main loop where there can be no thread", async () => {
    const caller = await setUp();
    const events: ServeEvent[] = [];
    // Compiled by the test runner, the package does not know the file of its thread.
    const serving = await serve(
      {
        connection: server.url,
        prefix: "bull",
        maxCrashes: 5,
        keepRun: 60_000,
        crashTimeout,
      },
      {
        queues: ["q"],
        workers: ["w@1"],
        slots: 1,
        prefetch: 2,
        retry: { min: 100, max: 1000, factor: 2 },
        ...obeyOrders(() => {}),
        onEvent: (event) => events.push(event),
      },
    );
    try {
      await caller.addBatch("b", [{ ms: 3 * crashTimeout }]);
      await vi.waitFor(() => expect(serving.jobs).toBe(1), SOON);
      const second = await start();
      expect(await caller.outcomes("b", 1)).toMatchObject([{ result: "done" }]);
      expect(second.has("begun")).toBe(false);
      expect(events).toEqual([{ what: "connected" }]);
    } finally {
      await serving.stop();
    }
  });

  it("is lost by a machine that stood still; it kills what it ran and serves on", async () => {
    const caller = await setUp();
    const first = await start();
    await caller.addBatch("b", [{ ms: 600_000 }]);
    await first.until("begun", "b");
    const second = await start();
    first.signal("SIGSTOP");
    await second.until("begun", "b");
    first.signal("SIGCONT");
    await first.until("lost", "b");
    await caller.abort("b");
    expect(await caller.entry("b")).toEqual({ job: "b", report: undefined });
    second.tell({ do: "stop" });
    await second.end();
    await caller.addBatch("c", [{}]);
    await caller.outcomes("c", 1);
    expect(first.has("done", "c")).toBe(true);
    expect(first.has("refused")).toBe(false);
    first.tell({ do: "stop" });
    expect(await first.until("stop")).toMatchObject({ jobs: 0 });
  });

  it("ends with a machine that is killed, and others have its jobs; too many such ends fail their items", async () => {
    const caller = await setUp();
    const maxCrashes = 1;
    await caller.addBatch("b", [{ ms: 600_000 }, {}]);
    for (let crash = 0; crash <= maxCrashes; crash += 1) {
      const machine = await start({ maxCrashes });
      await machine.until("begun", "b");
      machine.signal("SIGKILL");
      await machine.end();
    }
    const last = await start({ maxCrashes });
    const outcomes = await caller.outcomes("b", 2);
    expect(last.has("begun")).toBe(false);
    expect(outcomes).toHaveLength(2);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({
        failure: { isRetriable: false, error: { name: "DeadChildError" } },
      });
    }
    await caller.gone("b");
    await caller.queue.add("w@1", { ms: 600_000 }, { jobId: "single" });
    await last.until("begun", "single");
  });
});
