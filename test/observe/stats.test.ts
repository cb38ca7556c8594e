import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { Does } from "../fixtures/does.mjs";
import { Echo } from "../fixtures/echo.mjs";
import { ReturnsNoText } from "../fixtures/returns.mjs";
import { isAlive } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { SOON } from "../support/soon.js";

const FOR_EVER = 120_000;
const MIB = 1024 * 1024;

describe.each([{ startMethod: "fork" }, { startMethod: "spawn" }] as const)(
  "stats of a pool, %j",
  (options) => {
    it("report of each slot: items, errors, restarts, time, process and memory", async () => {
      const parallel = opened(new Does(), { ...options, pool: 2, stopOnError: false });
      expect(parallel.stats().slots).toEqual([]);
      await parallel.mapSettled([
        { ms: 60 },
        { ms: 60 },
        { throws: "failed" },
        { dies: true },
        { ms: 1 },
      ]);
      await parallel.mapProcesses([{ ms: 60 }, { ms: 60 }]);
      const { slots, items, calls, startMethod } = parallel.stats();
      expect({ items, calls, startMethod }).toEqual({
        items: { succeeded: 5, failed: 2 },
        calls: 0,
        startMethod: options.startMethod,
      });
      expect(slots.map(({ num }) => num)).toEqual([0, 1]);
      const sum = (of: "items" | "errors" | "restarts" | "busy") =>
        slots.reduce((total, slot) => total + slot[of], 0);
      expect([sum("items"), sum("errors"), sum("restarts")]).toEqual([5, 2, 1]);
      expect(sum("busy")).toBeGreaterThanOrEqual(4 * 59);
      for (const { pid, memory } of slots) {
        expect(pid && isAlive(pid)).toBe(true);
        expect(memory).toBeGreaterThan(10 * MIB);
      }
      await parallel.close();
      for (const { pid, memory } of parallel.stats().slots)
        expect([pid, memory]).toEqual([undefined, undefined]);
    });
  },
);

it("each new child counts as a restart with one child per item", async () => {
  const parallel = opened(new Echo(), { startMethod: "fork", concurrency: 1 });
  await parallel.mapProcesses(["a", "b", "c"]);
  expect(parallel.stats().slots).toEqual([
    {
      num: 0,
      items: 3,
      errors: 0,
      restarts: 2,
      busy: expect.any(Number),
      pid: undefined,
      memory: undefined,
    },
  ]);
});

it("run and wait times are recorded in histograms", async () => {
  const parallel = opened(new Does(), { startMethod: "fork", pool: 1, batch: 10 });
  expect(parallel.stats()).toMatchObject({ runTime: { count: 0, max: 0 }, waitTime: { count: 0 } });
  await parallel.mapProcesses([...Array.from({ length: 9 }, () => ({ ms: 5 })), { ms: 100 }]);
  const { runTime, waitTime } = parallel.stats();
  expect([runTime.count, waitTime.count]).toEqual([10, 10]);
  expect(runTime.min).toBeGreaterThanOrEqual(4);
  expect(runTime.p50).toBeLessThan(runTime.max);
  expect(runTime.max).toBeGreaterThanOrEqual(99);
  // The items of a batch have waited for those before them.
  expect(waitTime.max).toBeGreaterThan(4);
});

it("calls under way are counted", async () => {
  const parallel = opened(new Does(), { pool: 0 });
  const calls = [parallel.mapProcesses([{ ms: 20 }]), parallel.some([{ ms: 20 }])];
  expect(parallel.stats().calls).toBe(2);
  await Promise.all(calls);
  expect(parallel.stats().calls).toBe(0);
});

describe("diagnostics channels", () => {
  const stops: (() => void)[] = [];
  afterEach(() => stops.splice(0).forEach((stop) => stop()));

  function listen(name: string): any[] {
    const messages: any[] = [];
    const onMessage = (message: unknown) => void messages.push(message);
    subscribe(name, onMessage);
    stops.push(() => unsubscribe(name, onMessage));
    return messages;
  }

  it.each([
    ["one child per item", {}],
    ["a pool", { pool: 2 }],
  ] as const)("report attempts, children and calls: %s", async (_, options) => {
    const [items, children, calls] = ["item", "child", "call"].map((each) =>
      listen(`forkmap:${each}`),
    ) as [any[], any[], any[]];
    const parallel = opened(new Does(), {
      ...options,
      startMethod: "fork",
      concurrency: 2,
      retries: 1,
      retryDelay: { min: 1, max: 1 },
      timeout: 2500,
      stopOnError: false,
    });
    await parallel.mapSettled([
      { gives: 1 },
      { throws: "failed", times: 1 },
      { dies: true, times: 1 },
      { ms: FOR_EVER },
    ]);
    expect(
      items.map(({ index, attempt, outcome }) => `${index}/${attempt} ${outcome}`).toSorted(),
    ).toEqual([
      "0/1 ok",
      "1/1 error",
      "1/2 ok",
      "2/1 dead",
      "2/2 ok",
      "3/1 timeout",
      "3/2 timeout",
    ]);
    for (const each of items) {
      expect(each).toMatchObject({
        worker: "Does",
        pid: expect.any(Number),
        generation: expect.any(Number),
      });
      expect(each.error === undefined).toBe(each.outcome === "ok");
      expect(each.end).toBeGreaterThanOrEqual(each.start);
      expect([0, 1]).toContain(each.num);
    }
    await parallel.close();
    const ends = children.map(({ how }) => how).toSorted();
    const killed = ["SIGKILL", "SIGTERM", "SIGTERM"];
    expect(ends.filter((each) => each.startsWith("SIG"))).toEqual(killed);
    expect(ends.every((each) => each.startsWith("SIG") || each === "exit code 0")).toBe(true);
    const places = children.map(({ num, generation }) => `${num}/${generation}`);
    expect(new Set(places).size).toBe(children.length);
    if (!("pool" in options)) expect(children.length).toBe(7);
    expect(calls).toEqual([
      { worker: "Does", state: "begun", kind: undefined, error: undefined },
      { worker: "Does", state: "ended", kind: "fork", error: undefined },
    ]);
  });

  it("report how a call ended, and items in this process", async () => {
    const [items, calls] = [listen("forkmap:item"), listen("forkmap:call")];
    const error = await rejection(
      opened(new ReturnsNoText(), { pool: 0 }).mapProcesses(["text", "number"]),
    );
    expect(calls.at(-1)).toEqual({
      worker: "ReturnsNoText",
      state: "ended",
      kind: "inline",
      error,
    });
    expect(items.map(({ outcome, pid }) => [outcome, pid])).toEqual([
      ["ok", process.pid],
      ["mistyped", process.pid],
    ]);
  });

  it("with a listener that throws cause no failure", async () => {
    const onMessage = () => {
      throw new Error("from a subscriber");
    };
    const uncaught = vi.fn();
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException").on("uncaughtException", uncaught);
    onTestFinished(() => {
      process.removeAllListeners("uncaughtException");
      for (const each of others) process.on("uncaughtException", each);
    });
    for (const name of ["forkmap:item", "forkmap:call"]) {
      subscribe(name, onMessage);
      stops.push(() => unsubscribe(name, onMessage));
    }
    expect(await opened(new Echo(), { pool: 0 }).mapProcesses(["a"])).toEqual(["a"]);
    await vi.waitFor(() => expect(uncaught).toHaveBeenCalledTimes(3), SOON);
  });
});
