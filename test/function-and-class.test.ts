/** A function does what a class with the same `process` does, in every kind of child and by every verb. */
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import {
  ClosedError,
  ItemError,
  ItemTimeoutError,
  type Parallel,
  type ParallelOptions,
  ResultTypeError,
} from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { synchronous, versioned, Work, work } from "./fixtures/functions/does.mjs";
import { declared, undeclared } from "./fixtures/functions/fork-safe.mjs";
import { children } from "./support/leftovers.js";
import { opened } from "./support/opened.js";
import { rejection } from "./support/rejection.js";
import { SOON } from "./support/soon.js";
import { temporaryDirectory } from "./support/temporary.js";

const AT_ONCE = { min: 1, max: 1 };

interface Item {
  readonly log?: string;
  readonly ms?: number;
  readonly throws?: string;
  /** How many attempts throw. */
  readonly times?: number;
  readonly gives?: unknown;
}

interface Way {
  readonly name: string;
  readonly kind: string;
  readonly options: Partial<ParallelOptions>;
}

const WAYS: readonly Way[] = [
  { name: "a forked child per item", kind: "fork", options: { startMethod: "fork" } },
  { name: "a spawned child per item", kind: "spawn", options: { startMethod: "spawn" } },
  { name: "a forked pool", kind: "fork", options: { startMethod: "fork", pool: 2 } },
  { name: "a spawned pool", kind: "spawn", options: { startMethod: "spawn", pool: 2 } },
  { name: "threads", kind: "thread", options: {} },
  { name: "this process", kind: "inline", options: { pool: 0 } },
];
const GIVEN = [
  { what: "a function", given: work, named: "work" },
  { what: "a class", given: new Work(), named: "Work" },
];

const cases = WAYS.flatMap((way) => GIVEN.map((given) => ({ ...way, ...given })));

describe.each(cases)("$what in $name", ({ kind, options, given, named }) => {
  const isThread = kind === "thread";
  const isInline = kind === "inline";

  function make(more: object = {}): Parallel<Item, unknown> {
    return opened<Item, unknown>(given as never, { concurrency: 2, ...options, ...more } as never);
  }
  const map = (parallel: Parallel<Item, unknown>, items: readonly Item[], call = {}) =>
    isThread ? parallel.mapThreads(items, call) : parallel.mapProcesses(items, call);

  it("gives the results in the order of the items", async () => {
    const items = [{ gives: "a", ms: 200 }, { gives: ["b"] }, { gives: { c: null } }, {}];
    expect(await map(make(), items)).toEqual(["a", ["b"], { c: null }, null]);
    expect(await map(make(), [])).toEqual([]);
  });

  it("keeps the order of keys, if it is no JsonWorker, whose equal results are equal texts", async () => {
    const [result] = await map(make(), [{ gives: { b: 1, a: 2 } }]);
    const isSorted = named === "Work" && !isInline;
    expect(Object.keys(result as object)).toEqual(isSorted ? ["a", "b"] : ["b", "a"]);
  });

  it("runs in other processes, except in threads and with `pool: 0`", async () => {
    const pids = await map(make(), [{ gives: "pid" }, { gives: "pid" }]);
    expect(pids.every((pid) => pid === process.pid)).toBe(isThread || isInline);
    if (options.pool === undefined && !isThread) expect(new Set(pids).size).toBe(2);
  });

  it("receives the task: index, attempt, num, generation, kind and name", async () => {
    const parallel = make({ retries: 1, retryDelay: AT_ONCE, concurrency: 1 });
    const task = { gives: "task" };
    const [first, second] = await map(parallel, [task, { ...task, throws: "once", times: 1 }]);
    const frame = { kind, num: 0, name: named };
    expect(first).toMatchObject({ index: 0, attempt: 1, ...frame, context: [frame] });
    expect(second).toMatchObject({ index: 1, attempt: 2, kind, name: named });
    expect((first as { generation: number }).generation).toBe(1);
  });

  it("fails with the error that it threw as the cause", async () => {
    const error = await rejection(map(make(), [{}, { throws: "no way" }]));
    expect(error).toBeInstanceOf(ItemError);
    expect(error).toMatchObject({ index: 1, attempt: 1 });
    expect(error.cause).toBeInstanceOf(RangeError);
    expect(error.cause.message).toBe("no way");
    expect(error.cause.stack).toContain("does.mjs");
  });

  it("is given an item again with `retries`", async () => {
    const log = path.join(temporaryDirectory(), "log");
    const parallel = make({ retries: 2, retryDelay: AT_ONCE });
    const item = { log, throws: "not yet", times: 2, gives: "at last" };
    expect(await map(parallel, [item])).toEqual(["at last"]);
    expect(readFileSync(log, "utf8")).toBe("1\n2\n3\n");
    expect(await rejection(map(parallel, [{ throws: "never" }]))).toMatchObject({ attempt: 3 });
  });

  it.skipIf(isInline)(
    "can wind up when its timeout aborts `task.signal`; later items run",
    async () => {
      const log = path.join(temporaryDirectory(), "log");
      const parallel = make({ forceKillAfterDelay: 10_000 });
      const error = await rejection(map(parallel, [{ gives: "wound up", log }], { timeout: 1000 }));
      expect(error).toBeInstanceOf(ItemTimeoutError);
      expect(error).toMatchObject({ index: 0 });
      expect(readFileSync(log, "utf8")).toBe("1\naborted: true\n");
      expect(await map(parallel, [{ gives: 1 }])).toEqual([1]);
    },
  );

  it("must return a JSON value", async () => {
    const error = await rejection(map(make(), [{ gives: "function" }]));
    expect(error).toBeInstanceOf(ResultTypeError);
    expect(error.message).toMatch(/^Item 0 returned a function.*, expected a JSON value/);
  });

  it("works by the other verbs", async () => {
    const parallel = make();
    const items = [{ gives: 1 }, { gives: 2 }];
    if (isThread) {
      expect(await parallel.runThread({ gives: "one" })).toBe("one");
      expect(await parallel.eachThread(items)).toBe(0);
      return;
    }
    expect(await parallel.run({ gives: "one" })).toBe("one");
    await expect(parallel.run({ throws: "alone" })).rejects.toMatchObject({
      cause: { message: "alone" },
    });
    expect(await parallel.eachProcess(items)).toBe(0);
    const settled = await parallel.mapSettled([...items, { throws: "third" }]);
    expect(settled.map((each) => each.status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    const streamed: unknown[] = [];
    for await (const each of parallel.stream(items)) streamed.push(each);
    expect(streamed).toEqual([1, 2]);
  });

  it.skipIf(isInline)("leaves no process behind when it is destroyed during a call", async () => {
    const parallel = make();
    const directory = temporaryDirectory();
    const log = path.join(directory, "log");
    const call = rejection(map(parallel, [{ log, ms: 60_000 }]));
    await vi.waitUntil(() => existsSync(log), SOON);
    await parallel.destroy();
    expect(await call).toBeInstanceOf(ClosedError);
    expect(children()).toEqual([]);
  });
});

describe.each(["fork", "spawn"] as const)("a function, by %s", (startMethod) => {
  it("may be synchronous, and has no `this`", async () => {
    const parallel = opened(synchronous, { startMethod });
    expect(await parallel.mapProcesses([1, 2])).toEqual([
      [1, "undefined"],
      [2, "undefined"],
    ]);
    await expect(parallel.mapProcesses([-1])).rejects.toMatchObject({
      cause: { name: "RangeError", message: "-1 is below zero" },
    });
  });

  it("is known to a journal by its name and version", async () => {
    const journal = path.join(temporaryDirectory(), "journal");
    const parallel = opened(versioned, { startMethod, journal });
    const onFinish = vi.fn();
    expect(await parallel.mapProcesses([1], { onFinish })).toEqual([[1, 1]]);
    expect(await parallel.mapProcesses([1], { onFinish })).toEqual([[1, 1]]);
    expect(onFinish).toHaveBeenCalledTimes(1);
    try {
      versioned.version = 2;
      await expect(opened(versioned, { startMethod, journal }).mapProcesses([1])).rejects.toThrow(
        /was made by version "1" of versioned, which is now "2"/,
      );
    } finally {
      versioned.version = 1;
    }
  });
});

it("forks the children of a function that is `forkSafe`, whatever is open in its module", async () => {
  const [spawned, forked] = [opened(undeclared), opened(declared)];
  expect([await spawned.mapProcesses([1]), await forked.mapProcesses([1])]).toEqual([[1], [1]]);
  expect(spawned.stats().startMethod).toBe("spawn");
  expect(forked.stats()).toMatchObject({ startMethod: "fork", reason: undefined });
});
