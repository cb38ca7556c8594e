/** V8 and Node use threads that a fork does not copy; forked children behave as spawned ones nevertheless. */
import { describe, expect, test } from "vitest";
import { UsesThreads } from "../../fixtures/v8-threads.mjs";
import { opened } from "../../support/opened.js";

const TIMEOUT_MS = 20_000;
const WAYS = [
  ["garbage", 1],
  ["compiled", 42],
  ["streamed", 42],
  ["hotWasm", 50_050_000_000],
  ["fetched", 500],
  ["inContext", 42],
  ["inThread", 42],
  ["garbageInThread", 1],
] as const;

describe.each([
  ["forked", {}],
  ["forked in a pool", { pool: 1 }],
  ["in threads of a forked pool", { pool: 1, threads: 1 }],
  ["spawned", { startMethod: "spawn" }],
] as const)("%s", (_, options) => {
  const run = async (item: object) => {
    const parallel = opened(new UsesThreads(), { ...options, timeout: TIMEOUT_MS });
    const [settled] = await parallel.mapSettled([item as never]);
    return settled;
  };

  test.each(WAYS)("%s", async (way, value) => {
    expect(await run({ way })).toEqual({ status: "fulfilled", value });
  });

  test.each(WAYS)("%s, followed by a promise that can never settle", async (way) => {
    const settled = await run({ way, never: true });
    expect(settled).toMatchObject({ reason: { code: "ERR_PARALLEL_CHILD_DIED" } });
    expect((settled as { reason: Error }).reason.message).toContain("never settled");
  });
});

test("a long loop becomes as fast in a forked child as in a spawned one", async () => {
  const quickest = async (options: object) => {
    const parallel = opened(new UsesThreads(), { ...options, concurrency: 1 });
    const times = await parallel.mapProcesses(
      [1, 2, 3].map(() => ({ way: "hotLoop", never: false })),
    );
    return Math.min(...(times as number[]));
  };
  // It took 8 times as long when V8 did not optimise it.
  expect(await quickest({})).toBeLessThan(4 * (await quickest({ startMethod: "spawn" })));
});
