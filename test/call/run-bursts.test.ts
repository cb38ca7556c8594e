/** Items that take long come at once, after many that took no time: children are then given large batches. */
import { writeFileSync } from "node:fs";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { type JsonWorker, type ParallelOptions, QueueFullError } from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { Does } from "../fixtures/does.mjs";
import { Uneven } from "../fixtures/uneven.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { begun } from "../support/run-log.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

interface Way {
  readonly name: string;
  readonly options: Partial<ParallelOptions>;
  readonly verb: "run" | "runThread";
  /** How many items run at once. */
  readonly capacity: number;
}

const WAYS: readonly Way[] = [
  { name: "a forked pool", options: { pool: 2 }, verb: "run", capacity: 2 },
  { name: "a pool with fibers", options: { pool: 2, fibers: 2 }, verb: "run", capacity: 4 },
  {
    name: "a spawned pool",
    options: { startMethod: "spawn", pool: 2 },
    verb: "run",
    capacity: 2,
  },
  { name: "threads in processes", options: { pool: 1, threads: 2 }, verb: "run", capacity: 2 },
  { name: "threads", options: { concurrency: 2 }, verb: "runThread", capacity: 2 },
  { name: "no processes", options: { pool: 0, fibers: 2 }, verb: "run", capacity: 2 },
];

const FAST = 300;
const SLOW = 60;
/** Longer than any slot needs to see that its items have become slow. */
const A_WHILE_MS = 500;

describe.each(WAYS)("slow items after fast ones, in $name", ({ options, verb, capacity }) => {
  async function afterFastItems(more: Partial<ParallelOptions> = {}) {
    const parallel = opened(new Does() as JsonWorker<unknown, number>, { ...options, ...more });
    for (let n = 0; n < FAST; n += 1) await parallel[verb]({});
    const queue = () => {
      const { queue: ofProcesses, threads } = parallel.stats();
      return verb === "run" ? ofProcesses : threads!.queue;
    };
    return { parallel, queue };
  }

  it("begins them in the order in which they came", async () => {
    const { parallel } = await afterFastItems();
    const log = `${temporaryDirectory()}/log`;
    const gate = `${temporaryDirectory()}/gate`;
    const all = Array.from({ length: SLOW }, (_, gives) =>
      parallel[verb]({ log, until: gate, ms: 20, gives }),
    );
    await vi.waitFor(() => expect(begun(log)).toHaveLength(capacity), SOON);
    await sleep(A_WHILE_MS);
    writeFileSync(gate, "");
    expect(await Promise.all(all)).toEqual(all.map((_, n) => n));
    const order = begun(log).map(({ index }) => index - FAST);
    expect(order).toHaveLength(SLOW);
    // The first of each slot began before anybody could know how long they take.
    for (const [at, index] of order.slice(capacity).entries()) {
      const earlier = order.slice(at + capacity).filter((other) => other < index);
      expect(earlier.length, `${index} of ${order.join()}`).toBeLessThan(2 * capacity);
    }
  });

  it("lets no more wait than `maxQueue`, and counts each that waits", async () => {
    const { parallel, queue } = await afterFastItems({ maxQueue: 3 });
    const log = `${temporaryDirectory()}/log`;
    const gate = `${temporaryDirectory()}/gate`;
    const item = { log, until: gate, gives: 1 };
    const since = performance.now();
    const taken = Array.from({ length: capacity + 3 }, () => parallel[verb](item));
    const refused = Array.from({ length: 20 }, () => rejection(parallel[verb](item)));
    for (const error of await Promise.all(refused)) {
      expect(error).toBeInstanceOf(QueueFullError);
      expect(error).toMatchObject({ waiting: 3, maxQueue: 3 });
      expect(error.message).toContain(verb === "run" ? "onDrain()" : 'onDrain("runThread")');
      // Refused at the call itself, awaited or not.
      expect(error.stack).toContain("run-bursts.test.ts");
    }
    await vi.waitFor(() => expect(begun(log)).toHaveLength(capacity), SOON);
    await sleep(A_WHILE_MS);
    const { waiting, oldest, refused: count } = queue();
    expect({ waiting, count }).toEqual({ waiting: 3, count: 20 });
    expect(oldest).toBeGreaterThanOrEqual(A_WHILE_MS - 1);
    expect(oldest).toBeLessThanOrEqual(performance.now() - since);
    let hasDrained = false;
    const drained = parallel.onDrain(verb).then(() => (hasDrained = true));
    await setImmediate();
    expect(hasDrained).toBe(false);
    writeFileSync(gate, "");
    await drained;
    expect(await Promise.all(taken)).toEqual(taken.map(() => 1));
    const { waitTime } = queue();
    expect(waitTime.count).toBe(FAST + taken.length);
    expect(waitTime.max).toBeGreaterThanOrEqual(A_WHILE_MS - 1);
    expect(queue()).toMatchObject({ waiting: 0, oldest: 0 });
  });
});

it("a producer that awaits onDrain is never refused, although slots give back what they have not begun", async () => {
  const parallel = opened(new Uneven(), { pool: 2, maxQueue: 10 });
  const results: Promise<unknown>[] = [];
  for (let n = 0; n < 15_000; n += 1) {
    await parallel.onDrain();
    results.push(parallel.run(n));
  }
  expect(await Promise.all(results)).toEqual(results.map((_, n) => String(n)));
  expect(parallel.stats().queue.refused).toBe(0);
});
