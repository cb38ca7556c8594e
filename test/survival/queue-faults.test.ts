/**
 * A map of many items over three machines while one is killed, one stands still for longer than its locks, one is stopped and started
 * again, the server is killed and brought back, and the program that maps is killed and run again: results are exact and in order.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Counts, countedItems, type Machine, startMachine } from "../support/machines.js";
import { describeWithRedis, type RedisServer, startRedis } from "../support/redis-server.js";
import { fixture, startScript } from "../support/run-script.js";

/** In full with `FORKMAP_LONG`. */
const COUNT = process.env["FORKMAP_LONG"] ? 20_000 : 6000;
const CRASH_TIMEOUT_MS = 3000;
/** Each item waits so long. */
const ITEM_MS = process.env["FORKMAP_LONG"] ? "4" : "14";

describeWithRedis("a map over three machines", () => {
  let redis: RedisServer;
  let counts: Counts;
  let machines: Machine[];

  beforeEach(async () => {
    redis = await startRedis({ appendOnly: true });
    counts = countedItems();
    machines = await Promise.all([start(), start(), start()]);
  });
  afterEach(async () => {
    for (const each of machines) each.child.kill("SIGKILL");
    counts.remove();
    await redis.stop();
  });

  function start(): Promise<Machine> {
    const options = {
      connection: redis.url,
      crashTimeout: CRASH_TIMEOUT_MS,
      processes: 2,
      fibers: 4,
    };
    return startMachine({ ...options, prefetch: 8 }, { ...counts.env, MS: ITEM_MS });
  }

  /** Waits until a part of the items has been begun. */
  async function reached(part: number): Promise<void> {
    while (counts.read().size < COUNT * part) await pause(20);
  }

  const faults = {
    async killed() {
      machines[0]!.child.kill("SIGKILL");
    },
    async frozen() {
      machines[1]!.child.kill("SIGSTOP");
      await pause(CRASH_TIMEOUT_MS * 2);
      machines[1]!.child.kill("SIGCONT");
    },
    async replaced() {
      expect(await machines[2]!.end()).toBe(0);
      machines[2] = await start();
    },
    async withoutServer() {
      await redis.kill("SIGKILL");
      await pause(1000);
      await redis.restart();
    },
  };

  test.each(Object.keys(faults) as (keyof typeof faults)[])("one fault: %s", async (fault) => {
    const mapping = map(redis, `run-${fault}`);
    await reached(0.3);
    await faults[fault]();
    expect(await mapping.result()).toEqual({ length: COUNT, wrong: -1 });
    const repeated = tell(fault, counts);
    // What is not lost is not run again.
    if (fault === "replaced") expect(repeated).toBe(0);
    await expectNothingLeft(redis);
  });

  test("one fault: the program that maps is killed, and run again", async () => {
    const first = map(redis, "nightly");
    await reached(0.3);
    first.child.kill("SIGKILL");
    await once(first.child, "exit");
    expect(await map(redis, "nightly").result()).toEqual({ length: COUNT, wrong: -1 });
    expect(tell("run again", counts)).toBe(0);
    await expectNothingLeft(redis);
  });

  test("all faults in one run", async () => {
    const first = map(redis, "all");
    await reached(0.1);
    await faults.killed();
    await reached(0.15);
    first.child.kill("SIGKILL");
    await once(first.child, "exit");
    const second = map(redis, "all");
    // It checks the server when it starts: it must have come to continue the run.
    const lease = "bull:counted@1:forkmap:lease:all";
    const mark = () => redis.command("GET", lease) as Promise<string | null>;
    while (!(await mark())?.startsWith(`${second.child.pid}-`)) await pause(20);
    await Promise.all([faults.withoutServer(), faults.frozen()]);
    await faults.replaced();
    expect(await second.result()).toEqual({ length: COUNT, wrong: -1 });
    tell("all faults", counts);
    await expectNothingLeft(redis);
  });
});

interface Mapping {
  readonly child: ChildProcess;
  readonly output: () => string;
  result(): Promise<unknown>;
}

function map(redis: RedisServer, run: string): Mapping {
  const engine = { connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS };
  const args = [engine, { run, batch: 20 }, COUNT].map((each) => JSON.stringify(each));
  const child = startScript(fixture("queue/producer.mjs"), { args });
  let output = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => (output += text));
  child.stderr!.setEncoding("utf8").on("data", (text: string) => (output += text));
  return {
    child,
    output: () => output,
    async result() {
      if (child.exitCode === null) await once(child, "exit");
      const line = output.split("\n").find((each) => each.startsWith("{"));
      if (line === undefined) throw new Error(`The program gave no result: ${output}`);
      return JSON.parse(line) as unknown;
    },
  };
}

/** Prints how often items were run; returns how many were run more than once. */
function tell(what: string, counts: Counts): number {
  const times = new Map<number, number>();
  for (const count of counts.read().values()) times.set(count, (times.get(count) ?? 0) + 1);
  const told = [...times].toSorted().map(([count, items]) => `${items} items ${count} times`);
  console.log(`${what}: ${told.join(", ")}`);
  expect(counts.read().size).toBe(COUNT);
  return COUNT - (times.get(1) ?? 0);
}

async function expectNothingLeft(redis: RedisServer): Promise<void> {
  const keys = (await redis.command("KEYS", "*")) as string[];
  const own = /:(events|meta|id|marker|stalled-check|stalled|forkmap:machines)$/;
  for (const key of keys.filter((each) => !own.test(each))) {
    // Of the program that was killed; it would have received reports of calls without a name.
    expect(key).toMatch(/:forkmap:reports:[0-9a-f-]{36}$/);
    expect(await redis.command("XLEN", key)).toBe(0);
    const left = (await redis.command("PTTL", key)) as number;
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThanOrEqual(600_000);
  }
}
