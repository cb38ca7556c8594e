/** An item that kills what runs it, each time: its child, or its whole machine. It fails after its attempts, and costs nobody else anything. */
import { Queue } from "bullmq";
import { DeadChildError, Parallel, type ParallelOptions } from "forkmap";
import { bullmq } from "forkmap/bullmq";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Ordered } from "../fixtures/queue/ordered.mjs";
import { type Begun, begunItems } from "../support/begun.js";
import { isAlive } from "../support/leftovers.js";
import { type Machine, startMachine } from "../support/machines.js";
import { expectNoKeys } from "../support/mapping.js";
import { describeWithRedis, type RedisServer, startRedis } from "../support/redis-server.js";
import { SOON } from "../support/soon.js";

const CRASH_TIMEOUT_MS = 1500;
const MAX_CRASHES = 2;
const COUNT = 200;

interface Order {
  readonly n: number;
  readonly do?: string;
  readonly ms?: number;
}

describeWithRedis("a poison item", () => {
  let redis: RedisServer;
  let begun: Begun;
  let machines: Machine[];
  const open: { close(): Promise<void> }[] = [];

  beforeEach(async () => {
    redis = await startRedis();
    begun = begunItems();
    machines = await Promise.all([start(), start()]);
  });
  afterEach(async () => {
    for (const each of machines) each.child.kill("SIGKILL");
    await Promise.all(open.splice(0).map((each) => each.close()));
    begun.remove();
    await redis.stop();
  });

  async function start(): Promise<Machine> {
    const engine = { connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS };
    const options = { ...engine, maxCrashes: MAX_CRASHES, processes: 2, prefetch: 4 };
    return await startMachine(options, begun.env, { script: "ordered-machine.mjs" });
  }

  function parallelOf(options: ParallelOptions<Order, number>): Parallel<Order, number> {
    const engine = bullmq({ connection: redis.url, crashTimeout: CRASH_TIMEOUT_MS });
    const parallel = new Parallel<Order, number>(new Ordered(), { engine, ...options });
    open.push(parallel);
    return parallel;
  }

  function orders(poison: string, at: readonly number[]): Order[] {
    return Array.from({ length: COUNT }, (_, n) => (at.includes(n) ? { n, do: poison } : { n }));
  }

  function expectOthers(settled: readonly PromiseSettledResult<number>[], at: readonly number[]) {
    const others = settled.filter((_, n) => !at.includes(n));
    const numbers = settled.map((_, n) => n).filter((n) => !at.includes(n));
    const values = numbers.map((n) => ({ status: "fulfilled", value: n * 2 }));
    expect(others).toEqual(values);
  }

  function timesOf(n: number): number {
    return begun.read().filter((each) => each.n === n).length;
  }

  /** How often any item but these was begun. */
  function mostOfOthers(at: readonly number[]): number {
    const numbers = Array.from({ length: COUNT }, (_, n) => n);
    return Math.max(...numbers.filter((n) => !at.includes(n)).map(timesOf));
  }

  test.each([1, 20])("kills its child, in batches of %d", async (batch) => {
    const parallel = parallelOf({ retries: 2, retryDelay: { min: 1, max: 10 } });
    const poisoned = [0, 77, 199];
    const settled = await parallel.mapSettled(orders("exit", poisoned), { batch });
    expectOthers(settled, poisoned);
    for (const index of poisoned) {
      const { reason } = settled[index] as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(DeadChildError);
      expect(reason).toMatchObject({ index, attempt: 3, exitCode: 7 });
      expect(timesOf(index)).toBe(3);
    }
    expect(mostOfOthers(poisoned)).toBe(1);
    for (const { pid, child } of machines) {
      expect(isAlive(pid)).toBe(true);
      expect(child.exitCode).toBeNull();
    }
    await open.pop()!.close();
    await expectNoKeys(redis);
  });

  test("kills its child, as a plain job of BullMQ with attempts", async () => {
    const queue = new Queue("ordered@1", { connection: { path: redis.socket } });
    open.push(queue);
    const poison = await queue.add("ordered@1", { n: 1, do: "exit" }, { attempts: 3 });
    const good = await queue.addBulk([2, 3, 4].map((n) => ({ name: "ordered@1", data: { n } })));
    await vi.waitFor(async () => expect(await poison.isFailed()).toBe(true), SOON);
    const failed = (await queue.getJob(poison.id!))!;
    expect(failed.failedReason).toMatch(/process\.exit\(7\)/);
    expect(failed.attemptsMade).toBe(3);
    expect(timesOf(1)).toBe(3);
    for (const { id, data } of good) {
      await vi.waitFor(async () => {
        expect((await queue.getJob(id!))!.returnvalue).toBe((data as Order).n * 2);
      }, SOON);
    }
    for (const { pid } of machines) expect(isAlive(pid)).toBe(true);
  });

  test("kills its machine", { timeout: 180_000 }, async () => {
    const parallel = parallelOf({});
    const poisoned = [50];
    const items = orders("kill machine", poisoned).map((each) => ({ ...each, ms: 5 }));
    let deaths = 0;
    const watch = setInterval(() => {
      for (const [at, { child }] of machines.entries()) {
        if (child.signalCode === null) continue;
        deaths += 1;
        machines.splice(at, 1);
        void start().then((machine) => machines.push(machine));
        return;
      }
    }, 50);
    const settled = await parallel.mapSettled(items, { batch: 1 });
    clearInterval(watch);
    await vi.waitFor(() => expect(machines).toHaveLength(2), SOON);
    const [poison] = poisoned as [number];
    const { reason } = settled[poison] as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(DeadChildError);
    console.log(
      `${deaths} machines died; the poison was begun ${timesOf(poison)} times, others at most ${mostOfOthers(poisoned)} times`,
    );
    expect(timesOf(poison)).toBe(MAX_CRASHES + 1);
    expect(deaths).toBe(MAX_CRASHES + 1);
    expectOthers(settled, poisoned);
    await open.pop()!.close();
    await expectNoKeys(redis);
  });
});
