/** Random calls of two programs, while machines are killed and replaced at random: each outcome is right, and nothing is left. */
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { descendants } from "../support/leftovers.js";
import { type Machine, startMachine } from "../support/machines.js";
import { expectNoKeys, startMapping } from "../support/mapping.js";
import { describeWithRedis, type RedisServer, startRedis } from "../support/redis-server.js";
import { seeded } from "../support/seeded.js";
import { SOON } from "../support/soon.js";

const FOR_MS = process.env["FORKMAP_LONG"] === undefined ? 20_000 : 120_000;
const SEED = Number(process.env["FORKMAP_SEED"] ?? Date.now() % 1_000_000);
const CRASH_TIMEOUT_MS = 1500;
/** How long the calls may take that are under way in the end. */
const END_MS = 60_000;

describeWithRedis(`random calls and deaths of machines, FORKMAP_SEED=${SEED}`, () => {
  let redis: RedisServer;
  let machines: Machine[];

  beforeEach(async () => {
    redis = await startRedis();
    machines = await Promise.all([start(), start()]);
  });
  afterEach(async () => {
    for (const each of machines) each.child.kill("SIGKILL");
    await redis.stop();
  });

  async function start(): Promise<Machine> {
    const options = { connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS, maxCrashes: 1000 };
    return await startMachine({ ...options, processes: 4 }, {}, { script: "ordered-machine.mjs" });
  }

  test("all is as it should be", { timeout: FOR_MS + END_MS + 60_000 }, async () => {
    const below = seeded(SEED);
    const engine = { connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS };
    const producers = [1, 2].map((n) =>
      startMapping("fuzz-producer.mjs", [engine, { seed: SEED + n, forMs: FOR_MS }]),
    );
    const results = Promise.all(producers.map((each) => each.result()));
    const until = performance.now() + FOR_MS;
    const deaths: Record<string, number> = {};
    while (performance.now() < until) {
      await pause(500 + below(2500));
      const place = below(2);
      const how = ["SIGKILL", "SIGTERM", "SIGUSR2"][below(3)] as NodeJS.Signals;
      deaths[how] = (deaths[how] ?? 0) + 1;
      const code = await machines[place]!.end(how);
      expect(code, machines[place]!.output()).toBe(how === "SIGKILL" ? null : 0);
      machines[place] = await start();
    }
    // What is still open has to end in peace.
    const late = setTimeout(() => {
      for (const { child } of producers) child.kill("SIGUSR2");
      setTimeout(() => {
        for (const { child } of producers) child.kill("SIGKILL");
      }, 1000);
    }, END_MS);
    const told = (await results) as { counts: unknown; wrong: unknown }[];
    clearTimeout(late);
    console.log(JSON.stringify({ deaths, calls: told.map(({ counts }) => counts) }));
    expect(told.map(({ wrong }) => wrong)).toEqual([[], []]);
    for (const each of machines) expect(await each.end()).toBe(0);
    await expectNoKeys(redis);
    await vi.waitFor(() => {
      expect(descendants().filter(({ pid }) => pid !== redis.pid)).toEqual([]);
    }, SOON);
  });
});
