/** A named run that is aborted, and continued at once by the same program, comes to its end; and soon. */
import { Parallel } from "forkmap";
import { bullmq } from "forkmap/bullmq";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Ordered } from "../../fixtures/queue/ordered.mjs";
import { type Machine, startMachine } from "../../support/machines.js";
import { expectNoKeys } from "../../support/mapping.js";
import { describeWithRedis, type RedisServer, startRedis } from "../../support/redis-server.js";

const CRASH_TIMEOUT_MS = 1500;

describeWithRedis("a named run that is aborted and continued", () => {
  let redis: RedisServer;
  let machine: Machine;

  beforeAll(async () => {
    redis = await startRedis();
    const options = { connection: redis.url, fibers: 4, crashTimeout: CRASH_TIMEOUT_MS };
    machine = await startMachine(options, {}, { script: "ordered-machine.mjs" });
  });
  afterAll(async () => {
    machine.child.kill("SIGKILL");
    await redis.stop();
  });

  // Jobs are aborted in different states: not added yet, waiting, running.
  test("has all results, however soon it was aborted", { timeout: 180_000 }, async () => {
    const engine = bullmq({ connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS });
    const items = Array.from({ length: 100 }, (_, n) => ({ n, ms: 10 }));
    for (let ms = 0; ms < 60; ms += 3) {
      const parallel = new Parallel(new Ordered(), { engine });
      const run = `after-${ms}`;
      const signal = AbortSignal.timeout(ms);
      await parallel.mapProcesses(items, { run, signal, batch: 5 }).catch(() => {});
      const results = await parallel.mapProcesses(items, { run, batch: 50 });
      expect(results).toEqual(items.map(({ n }) => n * 2));
      await parallel.close();
    }
    await expectNoKeys(redis);
  });
});
