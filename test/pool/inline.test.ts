import { readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Instance,
  ItemError,
  ItemTimeoutError,
  JsonWorker,
  type ParallelOptions,
  ResultTypeError,
  type TaskContext,
  WorkerModuleError,
} from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { Does } from "../fixtures/does.mjs";
import { Bytes, Echo, EchoJson } from "../fixtures/echo.mjs";
import { ThrowsHardError } from "../fixtures/hard-errors.mjs";
import { Inner } from "../fixtures/nested.mjs";
import { Notes } from "../fixtures/notes.mjs";
import { ReturnsNoJson, ReturnsNoText } from "../fixtures/returns.mjs";
import { ThrowsBelowZero, ThrowsValue, VALUES } from "../fixtures/throws.mjs";
import { descendants, scratchDirectories } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { begun } from "../support/run-log.js";
import { temporaryDirectory } from "../support/temporary.js";

const FOR_EVER = 120_000;

/** Runs the function it is given, which could not be sent to another process. */
class Runs<Result> extends JsonWorker<number, Result> {
  readonly #work: (n: number, task: TaskContext) => Result | Promise<Result>;
  constructor(work: (n: number, task: TaskContext) => Result | Promise<Result>) {
    super();
    this.#work = work;
  }
  process(n: number, task: TaskContext): Result | Promise<Result> {
    return this.#work(n, task);
  }
}

function inline<Result>(
  work: (n: number, task: TaskContext) => Result | Promise<Result>,
  options: ParallelOptions<number, Result> = {},
) {
  return opened(new Runs(work), { pool: 0, ...options });
}

describe("pool: 0", () => {
  it("starts nothing, and passes items and results unchanged", async () => {
    const parallel = opened(new EchoJson(), { pool: 0 });
    await parallel.ready();
    const items = [{ a: [1] }, [2], "c", null];
    const results = await parallel.mapProcesses(items);
    for (const [i, item] of items.entries()) expect(results[i]).toBe(item);
    const [bytes] = await opened(new Bytes(), { pool: 0 }).mapProcesses([3]);
    expect(bytes).toEqual(Uint8Array.of(0, 1, 2));
    expect(descendants()).toEqual([]);
    expect(scratchDirectories()).toEqual([]);
    expect(parallel.stats()).toMatchObject({ startMethod: "inline", reason: undefined, pids: [] });
  });

  it("gives process its place: num 0, inline, in this process", async () => {
    const parallel = inline((_, task) => ({ ...task, pid: process.pid }));
    const [first, second] = await parallel.mapProcesses([1, 2]);
    const frame = { kind: "inline", num: 0, name: "Runs" };
    const where = { ...frame, generation: 1, parent: undefined, context: [frame], attempt: 1 };
    expect(first).toEqual({ ...where, index: 0, pid: process.pid });
    expect(second).toEqual({ ...where, index: 1, pid: process.pid });
  });

  it("is a frame of the context within, and nowhere else", async () => {
    const nested = inline(async () => {
      const own = opened(new Inner(), { startMethod: "fork" });
      return await own.mapProcesses([0]);
    });
    const outside = opened(new Inner(), { startMethod: "fork" });
    const [[[within]], [without]] = await Promise.all([
      nested.mapProcesses([0]),
      outside.mapProcesses([0]),
    ]);
    const outer = { kind: "inline", num: 0, name: "Runs" };
    const frame = { kind: "fork", num: 0, name: "Inner" };
    expect(within).toEqual({ ...frame, parent: outer, context: [outer, frame] });
    expect(without).toEqual({ ...frame, parent: null, context: [frame] });
  });

  it("runs items sequentially, or as many at a time as fibers", async () => {
    let running = 0;
    let most = 0;
    const parallel = inline(async (ms) => {
      most = Math.max(most, (running += 1));
      await sleep(ms);
      return (running -= 1);
    });
    await parallel.mapProcesses([20, 10, 5]);
    expect(most).toBe(1);
    await parallel.mapProcesses([20, 10, 5, 5], { fibers: 3 });
    expect(most).toBe(3);
  });

  it("lets timers and other events run", async () => {
    let ticks = 0;
    const timer = setInterval(() => (ticks += 1), 1);
    await inline(() => {
      const end = performance.now() + 1;
      while (performance.now() < end);
      return 0;
    }).mapProcesses(Array(200).fill(0));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(3);
  });

  it("accepts many items without a growing stack or queue", async () => {
    const items = Array.from({ length: 100_000 }, (_, i) => i);
    const results = await inline((n) => n + 1).mapProcesses(items);
    expect(results.length).toBe(items.length);
    expect(results.at(-1)).toBe(items.length);
  });
});

describe("errors inline", () => {
  it("are an ItemError with the original error as its cause", async () => {
    const reason = new RangeError("mine");
    const parallel = inline(() => {
      throw reason;
    });
    const error = await rejection(parallel.mapProcesses([1]));
    expect(error).toBeInstanceOf(ItemError);
    expect(error.cause).toBe(reason);
    expect(error).toMatchObject({ index: 0, num: 0, pid: process.pid, attempt: 1 });
    expect(error.message).toContain("Item 0 failed: RangeError: mine");
    expect(await rejection(parallel.mapProcesses([1]))).toBeInstanceOf(ItemError);
  });

  it("are the same whatever is thrown", async () => {
    const thrown = opened(new ThrowsValue(), { pool: 0 });
    for (const [name, value] of Object.entries(VALUES)) {
      expect((await rejection(thrown.mapProcesses([name]))).cause).toBe(value);
    }
    const names = [
      "cycle",
      "getters",
      "badMessage",
      "toJson",
      "proxy",
      "hostileObject",
      "nullObject",
    ];
    const hard = opened(new ThrowsHardError(), { pool: 0 });
    const forked = opened(new ThrowsHardError(), { startMethod: "fork", pool: 1 });
    const [here, there] = await Promise.all([hard, forked].map((each) => each.mapSettled(names)));
    expect(here!.map(words)).toEqual(there!.map(words));
  });

  it("report results of the wrong type, but not in eachProcess", async () => {
    for (const [worker, names] of [
      [ReturnsNoText, ["undefined", "number", "object", "array", "symbol", "date"]],
      [ReturnsNoJson, ["undefined", "NaN", "cycle", "nested NaN", "map", "bigint"]],
    ] as const) {
      const here = opened(new worker(), { pool: 0 });
      const there = opened(new worker(), { startMethod: "fork", pool: 1 });
      const settled = await here.mapSettled([...names]);
      for (const each of settled as any[]) expect(each.reason).toBeInstanceOf(ResultTypeError);
      expect(settled.map(words)).toEqual((await there.mapSettled([...names])).map(words));
      expect(await here.eachProcess([...names])).toBe(0);
    }
  });

  it("stop the call, depending on stopOnError", async () => {
    const parallel = opened(new ThrowsBelowZero(), { pool: 0 });
    const onStart = vi.fn();
    const error = await rejection(parallel.mapProcesses([1, -1, 2], { onStart }));
    expect(error).toMatchObject({ index: 1, results: ["1"] });
    expect(onStart).toHaveBeenCalledTimes(2);
    const all = await rejection(parallel.mapProcesses([-1, 1, -1], { stopOnError: false }));
    expect(all.errors.map((each: any) => each.index)).toEqual([0, 2]);
    expect(all.results).toEqual([undefined, "1"]);
    expect(parallel.stats().items).toEqual({ succeeded: 2, failed: 3 });
  });

  it("are retried", async () => {
    const attempts: number[] = [];
    const parallel = inline((_, { attempt }) => {
      attempts.push(attempt);
      if (attempt < 3) throw new Error("again");
      return attempt;
    });
    const options = { retries: 2, retryDelay: { min: 1, max: 1 } };
    expect(await parallel.mapProcesses([1], options)).toEqual([3]);
    expect(attempts).toEqual([1, 2, 3]);
    expect(parallel.stats().slots[0]).toMatchObject({ items: 1, errors: 2, restarts: 0 });
  });

  it("of an item that JSON cannot represent are those of other calls", async () => {
    const parallel = opened(new EchoJson(), { pool: 0 });
    expect(await rejection(parallel.mapProcesses([new Map()]))).toBeInstanceOf(TypeError);
  });
});

describe("ending early, inline", () => {
  it("timeout fails a waiting item, and aborts its signal", async () => {
    const reasons: unknown[] = [];
    const parallel = inline(
      async (ms, { signal }) => {
        signal.addEventListener("abort", () => reasons.push(signal.reason));
        await sleep(ms, undefined, { ref: false });
        return ms;
      },
      { timeout: 100, stopOnError: false },
    );
    const settled = await parallel.mapSettled([1, FOR_EVER, 2]);
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect((settled[1] as any).reason).toBeInstanceOf(ItemTimeoutError);
    expect((settled[1] as any).reason).toMatchObject({ index: 1, timeout: 100 });
    expect(reasons).toEqual([expect.any(Error)]);
  });

  it("an abort rejects with its reason immediately", async () => {
    const controller = new AbortController();
    const signals: AbortSignal[] = [];
    const parallel = inline(async (ms, task) => {
      signals.push(task.signal);
      await sleep(ms, undefined, { ref: false });
      return ms;
    });
    const call = parallel.mapProcesses([FOR_EVER, 1], { signal: controller.signal });
    setTimeout(() => controller.abort("enough"), 50);
    expect(await rejection(call)).toBe("enough");
    expect(signals.map((each) => each.aborted)).toEqual([true]);
    expect(await parallel.mapProcesses([1])).toEqual([1]);
  });

  it("destroy() does the same, and close() waits", async () => {
    const parallel = opened(new Does(), { pool: 0 });
    const call = parallel.mapProcesses([{ ms: FOR_EVER }]);
    const reason = rejection(call);
    await sleep(20);
    await parallel.destroy("over");
    expect(await reason).toBe("over");
    const other = opened(new Does(), { pool: 0 });
    const waited = other.mapProcesses([{ ms: 50, gives: 1 }]);
    await other.close();
    expect(await waited).toEqual([1]);
  });

  it("some, every and find run no more items than necessary", async () => {
    const log = path.join(temporaryDirectory(), "log");
    const parallel = opened(new Does(), { pool: 0 });
    const items = [0, 1, 0].map((gives) => ({ log, gives }));
    expect(await parallel.some(items)).toBe(true);
    expect(await parallel.every(items)).toBe(false);
    expect(await parallel.find(items)).toBe(items[1]);
    expect(begun(log).map(({ index }) => index)).toEqual([0, 1, 0, 0, 1]);
  });
});

describe("hooks inline", () => {
  it("of the worker: preload and setup once, teardown in close()", async () => {
    const file = path.join(temporaryDirectory(), "notes");
    const parallel = opened(new Notes(file), { pool: 0 });
    const hooks = () =>
      readFileSync(file, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
    await parallel.ready();
    expect(hooks().map(({ hook }) => hook)).toEqual(["preload"]);
    await parallel.mapProcesses(["a", "b"]);
    await parallel.mapProcesses(["c"]);
    await Promise.all([parallel.close(), parallel.close()]);
    const names = ["preload", "setup", "process", "process", "process", "teardown"];
    expect(hooks().map(({ hook }) => hook)).toEqual(names);
    expect(hooks()[1]).toMatchObject({ kind: "inline", num: 0, generation: 1, parent: null });
    expect(new Set(hooks().map(({ pid }) => pid))).toEqual(new Set([process.pid]));
    expect(hooks()[2]).toMatchObject({ item: "a", preloaded: process.pid });
  });

  it("of the worker: none without an item", async () => {
    const file = path.join(temporaryDirectory(), "notes");
    const parallel = opened(new Notes(file), { pool: 0 });
    expect(await parallel.mapProcesses([])).toEqual([]);
    await parallel.close();
    expect(() => readFileSync(file)).toThrow("ENOENT");
  });

  it("a failing preload ends the call, as in a fork server; a failing setup fails its item", async () => {
    class Fails extends JsonWorker<string, number> {
      preloads = 0;
      setups = 0;
      teardowns = 0;
      override preload(): void {
        if ((this.preloads += 1) === 1) throw new TypeError("from preload");
      }
      override setup(_: Instance): void {
        if ((this.setups += 1) === 1) throw new TypeError("from setup");
      }
      process(): number {
        return this.setups;
      }
      override teardown(): void {
        this.teardowns += 1;
      }
    }
    const worker = new Fails();
    const parallel = opened(worker, { pool: 0 });
    const error = await rejection(parallel.mapProcesses([""]));
    expect(error).toBeInstanceOf(WorkerModuleError);
    expect(error).toMatchObject({
      message: "preload() of Fails failed: TypeError: from preload",
      cause: { message: "from preload" },
    });
    expect(await rejection(parallel.mapProcesses([""]))).toMatchObject({
      index: 0,
      cause: { message: "from setup" },
    });
    expect(await parallel.mapProcesses([""])).toEqual([2]);
    await parallel.close();
    expect(worker.teardowns).toBe(1);
  });

  it("of the call: onStart, onFinish, in order", async () => {
    const calls: unknown[] = [];
    const parallel = opened(new ThrowsBelowZero(), { pool: 0, fibers: 3, finishInOrder: true });
    await parallel.mapProcesses([60, 30, 1], {
      onStart: (_, index) => calls.push(["start", index]),
      onFinish: (item, index, result, info) =>
        calls.push([item, index, result, info.num, info.pid]),
    });
    expect(calls.slice(0, 3).map((each) => (each as unknown[])[0])).toEqual([
      "start",
      "start",
      "start",
    ]);
    expect(calls.slice(3)).toEqual([
      [60, 0, "60", 0, process.pid],
      [30, 1, "30", 0, process.pid],
      [1, 2, "1", 0, process.pid],
    ]);
    const reason = new Error("from onFinish");
    const stopped = parallel.mapProcesses([1, 2, 3, 4], { onFinish: () => Promise.reject(reason) });
    expect(await rejection(stopped)).toBe(reason);
  });
});

it("streams inline, also endless items", async () => {
  let pulled = 0;
  let isClosed = false;
  function* naturals() {
    try {
      for (;;) yield (pulled += 1);
    } finally {
      isClosed = true;
    }
  }
  const seen: number[] = [];
  for await (const each of inline((n) => n * 2).stream(naturals(), { backpressure: 4 })) {
    if (seen.push(each) === 10) break;
  }
  expect(seen).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
  expect(pulled).toBeLessThanOrEqual(14);
  expect(isClosed).toBe(true);
});

it("stats() counts items inline", async () => {
  const parallel = opened(new Echo(), { pool: 0 });
  await parallel.mapProcesses(["a", "b"]);
  const { slots, runTime, waitTime, calls, items } = parallel.stats();
  expect(slots).toEqual([
    {
      num: 0,
      items: 2,
      errors: 0,
      restarts: 0,
      busy: expect.any(Number),
      pid: undefined,
      memory: undefined,
    },
  ]);
  expect([runTime.count, waitTime.count, calls]).toEqual([2, 2, 0]);
  expect(items).toEqual({ succeeded: 2, failed: 0 });
  expect(parallel.concurrency).toBe(0);
  parallel.concurrency = 4;
  expect(parallel.concurrency).toBe(0);
});

/** Returns the message of an error without its place. */
function words(settled: PromiseSettledResult<unknown>): string {
  return (settled as PromiseRejectedResult).reason.message.replace(/ \(num.*/, "");
}
