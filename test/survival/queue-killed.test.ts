/** A machine that is killed by `kill()` or a second TERM in mid-run: another has its jobs within a second, and nothing of it is left. */
import { Queue } from "bullmq";
import { once } from "node:events";
import { Parallel } from "forkmap";
import { bullmq } from "forkmap/bullmq";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Ordered } from "../fixtures/queue/ordered.mjs";
import { type Begun, begunItems } from "../support/begun.js";
import { descendants } from "../support/leftovers.js";
import { type Machine, startMachine } from "../support/machines.js";
import { expectNoKeys } from "../support/mapping.js";
import { describeWithRedis, type RedisServer, startRedis } from "../support/redis-server.js";
import { PROMISED, SOON } from "../support/soon.js";

/** Much longer than the promise: no lock expires in a test. */
const CRASH_TIMEOUT_MS = 60_000;
const SLOTS = 4;
const JOBS = 2 * SLOTS;
/** From `kill()` to the begin of the last of its jobs on another machine. The promise itself is for a machine that does nothing else. */
const PROMISE_MS = process.env["FORKMAP_LONG"] ? 1000 : 15_000;

describeWithRedis("a machine is killed in mid-run", () => {
  let redis: RedisServer;
  let begun: Begun;
  let machines: Machine[];
  const open: { close(): Promise<void> }[] = [];

  beforeEach(async () => {
    redis = await startRedis();
    begun = begunItems();
    machines = [await start(2, { HANGS: "1" })];
  });
  afterEach(async () => {
    for (const each of machines) each.child.kill("SIGKILL");
    await Promise.all(open.splice(0).map((each) => each.close()));
    begun.remove();
    await redis.stop();
  });

  async function start(fibers: number, env = {}): Promise<Machine> {
    const options = { connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS, prefetch: JOBS };
    return await startMachine(
      { ...options, processes: 2, fibers },
      { ...begun.env, ...env },
      {
        script: "ordered-machine.mjs",
      },
    );
  }

  /** All run on the first machine, as many as it can, and the rest waits there. */
  function map(what: string): Promise<unknown> {
    const parallel = new Parallel(new Ordered(), {
      engine: bullmq({ connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS }),
    });
    open.push(parallel);
    return parallel.mapProcesses(items(what), { batch: 1 });
  }

  function items(what: string) {
    return Array.from({ length: JOBS }, (_, n) => ({ n, do: what }));
  }

  /** @returns the time of the kill */
  async function kill(first: Machine, how: string): Promise<number> {
    if (how === "SIGTERM twice") {
      first.child.kill("SIGTERM");
      // It stops, and waits for what runs.
      await vi.waitFor(async () => expect(await served()).toBe(1), SOON);
    }
    const at = Date.now();
    first.child.kill(how === "SIGTERM twice" ? "SIGTERM" : "SIGUSR2");
    return at;
  }

  async function served(): Promise<unknown> {
    return await redis.command("ZCARD", "bull:ordered@1:forkmap:machines");
  }

  async function expectTaken(first: Machine, second: Machine, at: number): Promise<number> {
    const theirs = () => begun.read().filter(({ machine }) => machine === second.pid);
    await vi.waitFor(() => expect(theirs()).toHaveLength(JOBS), SOON);
    const times = theirs().map((each) => each.at - at);
    const last = Math.max(...times);
    const { exitCode, signalCode } = first.child;
    if (exitCode === null && signalCode === null) await once(first.child, "exit");
    return last;
  }

  function processesOf(machine: Machine): number[] {
    const all = descendants();
    const found = new Set([machine.pid]);
    for (let size = 0; size < found.size;) {
      size = found.size;
      for (const { pid, parent } of all) if (found.has(parent)) found.add(pid);
    }
    return [...found];
  }

  const cases = [
    ["kill()", "hang with a helper"],
    ["kill()", "spin"],
    ["kill()", "refuse TERM"],
    ["SIGTERM twice", "refuse TERM"],
  ] as const;
  // A busy machine may miss the second once.
  describe("has its jobs begun elsewhere at once", () => {
    test.each(cases)("by %s, items: %s", async (how, what) => {
      const mapped = map(what);
      const [first] = machines as [Machine];
      // A spinning child begins one item only.
      const running = what === "spin" ? 2 : SLOTS;
      await vi.waitFor(() => expect(begun.read()).toHaveLength(running), SOON);
      await vi.waitFor(async () => {
        expect(await redis.command("LLEN", "bull:ordered@1:active")).toBe(JOBS);
      }, SOON);
      const second = await start(JOBS);
      machines.push(second);
      const processes = processesOf(first);
      expect(processes.length).toBeGreaterThanOrEqual(4);
      const at = await kill(first, how);
      const last = await expectTaken(first, second, at);
      console.log(`${how}, ${what}: all ${JOBS} jobs were begun elsewhere after ${last} ms`);
      expect(await mapped).toEqual(items(what).map(({ n }) => n * 2));
      expect(first.child.exitCode).toBe(how === "kill()" ? 0 : 1);
      await vi.waitFor(() => {
        const left = descendants().filter(({ pid }) => processes.includes(pid));
        expect(left).toEqual([]);
      }, PROMISED);
      expect(last).toBeLessThan(PROMISE_MS);
      await open.pop()!.close();
      await expectNoKeys(redis);
    });

    test("jobs that plain code of BullMQ has added", async () => {
      const queue = new Queue("ordered@1", { connection: { path: redis.socket } });
      open.push(queue);
      for (const data of items("hang with a helper")) await queue.add("ordered@1", data);
      const [first] = machines as [Machine];
      await vi.waitFor(() => expect(begun.read()).toHaveLength(SLOTS), SOON);
      const second = await start(JOBS);
      machines.push(second);
      const last = await expectTaken(first, second, await kill(first, "kill()"));
      console.log(`plain jobs: all ${JOBS} were begun elsewhere after ${last} ms`);
      await vi.waitFor(async () => expect(await queue.getCompletedCount()).toBe(JOBS), SOON);
      expect(last).toBeLessThan(PROMISE_MS);
      for (const job of await queue.getCompleted()) {
        expect(job.returnvalue).toBe((job.data as { n: number }).n * 2);
        expect(job.attemptsMade).toBe(1);
      }
    });
  });
});
