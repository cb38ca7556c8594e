/** The loop of the program that maps is blocked while machines finish 20,000 items: no result is lost, and nothing is run again. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  type Counts,
  countedItems,
  type Machine,
  startMachine,
  untilPrinted,
} from "../support/machines.js";
import { expectNoKeys, startMapping, tellCounts } from "../support/mapping.js";
import { describeWithRedis, type RedisServer, startRedis } from "../support/redis-server.js";
import { temporaryDirectory } from "../support/temporary.js";

const COUNT = 20_000;
const BLOCKED_MS = 10_000;
/** More than once within the time that the loop is blocked. */
const CRASH_TIMEOUT_MS = 3000;

describeWithRedis("a program that maps, whose loop is blocked for 10 s", () => {
  let redis: RedisServer;
  let counts: Counts;
  let machines: Machine[];

  beforeEach(async () => {
    redis = await startRedis();
    counts = countedItems();
    // As many places as items: all jobs may be under way, also those of one item.
    const options = { connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS, prefetch: 20 };
    machines = await Promise.all(
      [1, 2].map(() => startMachine({ ...options, processes: 5, fibers: 1024 }, counts.env)),
    );
  });
  afterEach(async () => {
    for (const each of machines) each.child.kill("SIGKILL");
    counts.remove();
    await redis.stop();
  });

  test.each([1000, 1])("batches of %d", { timeout: 240_000 }, async (batch) => {
    const file = path.join(temporaryDirectory(), "unblock");
    const engine = { connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS };
    const how = { blockFor: BLOCKED_MS, file };
    const mapping = startMapping("blocked-producer.mjs", [engine, { batch }, COUNT, how]);
    const jobs = COUNT / batch;
    // A busy machine takes more than 20 s to add 20,000 jobs.
    const limit = { timeout: 100_000, interval: 100 };
    await vi.waitFor(async () => expect(await added(redis)).toBe(jobs), limit);
    mapping.child.kill("SIGUSR2");
    await vi.waitFor(async () => expect(await open(redis)).toBe(0), limit);
    expect(mapping.output()).toBe("");
    writeFileSync(file, "");
    await untilPrinted(mapping.child, "unblocked", mapping.output);
    expect(await mapping.result()).toEqual({ length: COUNT, wrong: -1 });
    expect(tellCounts(`blocked, batches of ${batch}`, counts, COUNT)).toBe(0);
    await expectNoKeys(redis);
  });
});

/** How many jobs were ever added. */
async function added(redis: RedisServer): Promise<number> {
  return Number(await redis.command("GET", "bull:counted@1:id"));
}

/** How many jobs machines have not acknowledged. */
async function open(redis: RedisServer): Promise<number> {
  const lengths = ["wait", "active"].map((list) => redis.command("LLEN", `bull:counted@1:${list}`));
  const [waiting, active] = await Promise.all(lengths);
  return Number(waiting) + Number(active);
}
