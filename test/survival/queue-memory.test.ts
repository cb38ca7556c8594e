/** What stays in memory: nothing in Redis after 100 runs, and nothing in a machine after many jobs. */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { Queue } from "bullmq";
import { Parallel } from "forkmap";
import { bullmq } from "forkmap/bullmq";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ordered } from "../fixtures/queue/ordered.mjs";
import { descendants } from "../support/leftovers.js";
import { type Machine, startMachine } from "../support/machines.js";
import { expectNoKeys } from "../support/mapping.js";
import { describeWithRedis, type RedisServer, startRedis } from "../support/redis-server.js";
import { rejection } from "../support/rejection.js";

const IS_LONG = process.env["FORKMAP_LONG"] !== undefined;
const RUNS = 100;
const JOBS = IS_LONG ? 200_000 : 20_000;
const ROUNDS = IS_LONG ? 80 : 20;
/** What Redis may hold more, in bytes: the events that BullMQ keeps are trimmed by a hundred. */
const REDIS_SLACK = 100 * 1024;
/** What a process may hold more, in bytes: the garbage collector is in no hurry. */
const PROCESS_SLACK = 10 * 1024 * 1024;

interface Order {
  readonly n: number;
  readonly do?: string;
  readonly ms?: number;
}

describeWithRedis("memory", () => {
  let redis: RedisServer;
  let machine: Machine;

  beforeEach(async () => {
    redis = await startRedis();
    const options = { connection: redis.url, processes: 2, fibers: 4, prefetch: 50 };
    // Else the garbage collector lets some 50 MiB gather first.
    const env = { NODE_OPTIONS: "--max-old-space-size=96 --max-semi-space-size=2" };
    machine = await startMachine(options, env, { script: "ordered-machine.mjs" });
  });
  afterEach(async () => {
    machine.child.kill("SIGKILL");
    await redis.stop();
  });

  function makeParallel(): Parallel<Order, number> {
    const engine = bullmq({ connection: redis.url, crashTimeout: 3000 });
    return new Parallel<Order, number>(new Ordered(), { engine });
  }

  /** Some have names, some fail, some are aborted; one that has a name is then run again, to its end, as it is kept until then. */
  async function mapOnce(parallel: Parallel<Order, number>, at: number): Promise<void> {
    const items: Order[] = Array.from({ length: 300 }, (_, n) => ({ n }));
    const named = at % 2 === 0 ? { run: `run-${at}` } : {};
    if (at % 5 === 0) {
      const signal = AbortSignal.timeout(20);
      const slow = items.map((each) => ({ ...each, ms: 10 }));
      await rejection(parallel.mapProcesses(slow, { ...named, signal, batch: 5 }));
      if (at % 2 === 0) await parallel.mapProcesses(slow, { ...named, batch: 50 });
    } else if (at % 5 === 1) {
      const failing = items.map((each) => (each.n === 100 ? { ...each, do: "throw" } : each));
      await parallel.mapSettled(failing);
      await rejection(parallel.mapProcesses(failing));
    } else if (at % 5 === 2) {
      for await (const each of parallel.stream(items)) if (each > 50) break;
    } else {
      expect(await parallel.mapProcesses(items, named)).toHaveLength(300);
    }
  }

  async function held(): Promise<{ bytes: number; keys: string[] }> {
    await expectNoKeys(redis);
    await redis.command("MEMORY", "PURGE");
    const text = (await redis.command("INFO", "memory")) as string;
    const all = (await redis.command("KEYS", "*")) as string[];
    // Whose turn it is to look for stalled jobs: BullMQ's own, gone and back every few seconds.
    const keys = all.filter((key) => !key.endsWith(":stalled-check")).toSorted();
    return { bytes: Number(/^used_memory:(\d+)/m.exec(text)![1]), keys };
  }

  test(`Redis holds after ${RUNS} runs what it held before`, { timeout: 180_000 }, async () => {
    let parallel = makeParallel();
    for (let at = 0; at < 10; at += 1) await mapOnce(parallel, at);
    await parallel.close();
    const before = await held();
    for (let at = 0; at < RUNS; at += 1) {
      // As many by programs of their own as by one that goes on.
      if (at % 10 === 0 || at > RUNS / 2) parallel = makeParallel();
      await mapOnce(parallel, at);
      if (at % 10 === 9 || at >= RUNS / 2) await parallel.close();
    }
    const after = await held();
    console.log(
      `Redis: ${before.bytes} bytes and ${before.keys.length} keys before, ${after.bytes} bytes and ${after.keys.length} keys after ${RUNS} runs`,
    );
    expect(after.keys).toEqual(before.keys);
    expect(after.bytes - before.bytes).toBeLessThan(REDIS_SLACK);
  });

  test(`a machine holds the same all through ${JOBS} jobs`, { timeout: 1_200_000 }, async () => {
    const parallel = makeParallel();
    const queue = new Queue("ordered@1", { connection: { path: redis.socket } });
    const size = JOBS / ROUNDS / 2;
    const samples: Record<string, number[]> = {};
    let deadline = performance.now() + 500;
    const sample = () => {
      if (performance.now() < deadline) return;
      deadline = performance.now() + 500;
      for (const [name, pid] of processesOf(machine.pid)) {
        (samples[name] ??= []).push(heldBy(pid));
      }
    };
    const began = performance.now();
    for (let round = 0; round < ROUNDS; round += 1) {
      const items = Array.from({ length: size }, (_, n) => ({ n }));
      for await (const each of parallel.stream(items, { batch: 1 })) if (each % 100 === 0) sample();
      const opts = { removeOnComplete: true, removeOnFail: true };
      await queue.addBulk(items.map((data) => ({ name: "ordered@1", data, opts })));
      while ((await queue.getActiveCount()) + (await queue.getWaitingCount()) > 0) {
        await pause(50);
        sample();
      }
    }
    const seconds = (performance.now() - began) / 1000;
    await queue.close();
    await parallel.close();
    console.log(`${JOBS} jobs in ${seconds.toFixed(0)} s`);
    for (const [name, all] of Object.entries(samples)) {
      const [second, last] = [quarter(all, 1), quarter(all, 3)];
      console.log(`${name}: ${inMiB(second)} in the second quarter, ${inMiB(last)} in the last`);
      expect(last - second, name).toBeLessThan(PROCESS_SLACK);
    }
    expect(Object.keys(samples)).toEqual(["the queue worker", "its fork server"]);
  });
});

/** The children of the fork server come and go with the work. */
function processesOf(machine: number): (readonly [name: string, pid: number])[] {
  const server = descendants().find(({ parent }) => parent === machine);
  return [
    ["the queue worker", machine],
    ...(server ? [["its fork server", server.pid] as const] : []),
  ];
}

/** Its share of the memory, in bytes. */
function heldBy(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  return 1024 * Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)![1]);
}

function quarter(all: readonly number[], at: number): number {
  const size = all.length / 4;
  const some = all.slice(Math.floor(at * size), Math.ceil((at + 1) * size));
  return some.reduce((sum, each) => sum + each, 0) / some.length;
}

function inMiB(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
