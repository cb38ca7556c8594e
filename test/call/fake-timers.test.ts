/** A test with a fake clock calls the library: its children still use real time. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Ignores, Stays } from "../fixtures/stays.mjs";
import { opened } from "../support/opened.js";
import { temporaryDirectory } from "../support/temporary.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe.each([
  ["fork", {}],
  ["fork in a pool", { pool: 2 }],
  ["spawn", { startMethod: "spawn" }],
] as const)("%s", (_, options) => {
  it("runs two calls at the same time", async () => {
    const parallel = opened(new Stays(), options);
    const calls = [1, 2].map((ms) => parallel.mapProcesses([{ ms }]));
    expect(await Promise.all(calls)).toEqual([["stayed"], ["stayed"]]);
  });

  it("ends an item that takes too long and ignores SIGTERM", async () => {
    const parallel = opened(new Ignores(), {
      ...options,
      timeout: 2000,
      forceKillAfterDelay: 100,
    });
    const begun = `${temporaryDirectory()}/begun`;
    const [settled] = await parallel.mapSettled([{ begun }]);
    expect(settled).toMatchObject({ reason: { code: "ERR_PARALLEL_TIMEOUT" } });
  });
});

it("waits between two attempts, and times out in this process", async () => {
  const parallel = opened(new Stays(), {
    pool: 0,
    timeout: 50,
    retries: 1,
    retryDelay: { min: 10 },
  });
  const [settled] = await parallel.mapSettled([{}]);
  expect(settled).toMatchObject({ reason: { code: "ERR_PARALLEL_TIMEOUT", attempt: 2 } });
});

it("does not wait forever for a journal that another call has open", async () => {
  const parallel = opened(new Stays(), { journal: temporaryDirectory() });
  const outcomes = await Promise.allSettled(
    [1, 2].map((ms) => parallel.mapProcesses([{ ms: 2000 * ms }])),
  );
  expect(outcomes).toMatchObject([
    { status: "fulfilled" },
    { reason: { code: "ERR_PARALLEL_JOURNAL" } },
  ]);
});

it("does not use the return value of the global setTimeout", async () => {
  vi.stubGlobal("setTimeout", () => 1);
  vi.stubGlobal("setImmediate", () => 1);
  const parallel = opened(new Stays(), { pool: 1, threads: 2 });
  expect(await parallel.mapProcesses([{ ms: 1 }, { ms: 1 }])).toEqual(["stayed", "stayed"]);
  await parallel.close();
  vi.unstubAllGlobals();
});
