import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { makesAfter } from "./support/after-item.js";
import { Does } from "./fixtures/does.mjs";
import { Echo, EchoJson } from "./fixtures/echo.mjs";
import { descendants, isAlive, scratchDirectories } from "./support/leftovers.js";
import { opened } from "./support/opened.js";
import { rejection } from "./support/rejection.js";
import { begun } from "./support/run-log.js";
import { temporaryDirectory } from "./support/temporary.js";

const FORKED = [
  { startMethod: "fork", concurrency: 2 },
  { startMethod: "fork", pool: 2 },
] as const;
const ALL = [
  ...FORKED,
  { startMethod: "spawn", concurrency: 2 },
  { startMethod: "spawn", pool: 2 },
] as const;

/** Longer than any test may take. */
const FOR_EVER = 120_000;

let log: string;
/** A file that one item creates and another waits for. */
let sign: string;
beforeEach(() => {
  const directory = temporaryDirectory();
  log = path.join(directory, "log");
  sign = path.join(directory, "sign");
});

/** Generates these items and then others endlessly; records the last one and whether the generator was closed. */
function endless(...items: object[]) {
  const source = { last: 0, isClosed: false, items: generate() };
  function* generate(): Generator<object> {
    try {
      for (; ; source.last += 1) yield items[source.last] ?? { log, ms: FOR_EVER };
    } finally {
      source.isClosed = true;
    }
  }
  return source;
}

describe.each(FORKED)("verbs, %j", (options) => {
  it("return the results of mapProcesses, flattened by one level or without null; or an answer", async () => {
    const parallel = opened(new EchoJson(), options);
    const lists = [[1, [2]], [], "ab", null];
    expect(await parallel.flatMap(lists)).toEqual([1, [2], "ab", null]);
    const values = [0, null, "", false, "a", null];
    expect(await parallel.filterMap(values)).toEqual([0, "", false, "a"]);
    expect(await parallel.some([0, "", 1])).toBe(true);
    expect(await parallel.some([0, null])).toBe(false);
    expect(await parallel.every([1, "a"])).toBe(true);
    expect(await parallel.every([1, 0, 2])).toBe(false);
    expect(await parallel.find([0, null, "b", 4])).toBe("b");
    expect(await parallel.find([0, null])).toBe(undefined);
  });

  it("start nothing without items", async () => {
    const parallel = opened(new EchoJson(), options);
    expect(await parallel.some([])).toBe(false);
    expect(await parallel.every([])).toBe(true);
    expect(await parallel.find([])).toBe(undefined);
    expect([await parallel.flatMap([]), await parallel.filterMap([])]).toEqual([[], []]);
    expect(descendants()).toEqual([]);
    expect(scratchDirectories()).toEqual([]);
  });
});

describe.each(ALL)("an answer, %j", (options) => {
  it("ends the rest immediately; later calls work", async () => {
    const parallel = opened(new Does(), options);
    for (const [verb, gives] of [
      ["some", true],
      ["every", false],
    ] as const) {
      const long = { log, makes: sign, ms: FOR_EVER };
      const source = endless(long, { log, until: sign, gives });
      expect(await parallel[verb](source.items)).toBe(gives);
      expect(source).toMatchObject({ last: 1, isClosed: true });
      expectGone(0);
      if (!("pool" in options)) expect(scratchDirectories()).toEqual([]);
      expect(parallel.stats().calls).toBe(0);
      rmSync(sign);
    }
    expect(await parallel.mapProcesses([{ gives: 1 }, { gives: 2 }])).toEqual([1, 2]);
  });

  it("of find ends the rest immediately once the items before it are done", async () => {
    const parallel = opened(new Does(), threeOf(options));
    makesAfter(1, sign);
    const first = { log, until: sign, gives: 0 };
    const long = { log, ms: FOR_EVER };
    const found = { log, gives: 1 };
    const source = endless(first, found, long);
    expect(await parallel.find(source.items)).toBe(found);
    expect(source).toMatchObject({ last: 2, isClosed: true });
    expectGone(2);
    // A later item whose answer is known sooner is not the first in the order of the items.
    rmSync(sign);
    const slow = { until: sign, gives: 1 };
    expect(await parallel.find([slow, { gives: 2 }])).toBe(slow);
  });
});

const METHODS = [{ startMethod: "fork" }, { startMethod: "fork", pool: 2 }] as const;

describe.each(METHODS)("an error, %j", (options) => {
  const fails = (more: object = {}) => ({ throws: "failed", ...more });
  const never = { ms: FOR_EVER };

  it("is thrown when it comes before the answer", async () => {
    const parallel = opened(new Does(), { ...options, concurrency: 2 });
    for (const verb of ["some", "every", "find"] as const) {
      // The answer comes from an item in flight, which finishes.
      makesAfter(1, sign);
      const late = { until: sign, gives: verb !== "every" };
      const call = parallel[verb](endless(late, fails()).items);
      expect(await rejection(call)).toMatchObject({ index: 1, cause: { message: "failed" } });
      rmSync(sign);
    }
  });

  it("is not an answer with stopOnError: false", async () => {
    const parallel = opened(new Does(), { ...options, concurrency: 2, stopOnError: false });
    expect(await parallel.some([fails(), fails(), { gives: 1 }, never])).toBe(true);
    expect(await parallel.every([fails(), { gives: 0 }, never])).toBe(false);
    expect(await parallel.find([fails(), { gives: 1 }, never])).toEqual({ gives: 1 });
    const error = await rejection(parallel.some([fails(), { gives: 0 }, fails()]));
    expect(error.message).toBe("2 of 3 items failed");
    expect(error.errors.map((each: any) => each.index)).toEqual([0, 2]);
    expect(await rejection(parallel.find([fails(), { gives: 0 }]))).toBeInstanceOf(AggregateError);
  });

  it("of an item before the one that was found ends the call unless stopOnError is false", async () => {
    const items = () => [
      fails({ log, until: sign, ms: 50 }),
      { makes: sign, gives: 1 },
      { log, ...never },
    ];
    const parallel = opened(new Does(), threeOf(options));
    expect(await parallel.find(items(), { stopOnError: false })).toMatchObject({ gives: 1 });
    expectGone(2);
    const stopped = parallel.find(items().slice(0, 2));
    expect(await rejection(stopped)).toMatchObject({ index: 0, cause: { message: "failed" } });
  });

  it("is retried on request", async () => {
    const parallel = opened(new Does(), { ...options, retries: 1, retryDelay: { min: 0, max: 0 } });
    const item = fails({ times: 1, gives: 1 });
    expect(await parallel.find([{ gives: 0 }, item])).toBe(item);
  });
});

describe.each(METHODS)("searches, %j", (options) => {
  it("await onFinish of the answer, and reject with its error", async () => {
    const parallel = opened(new Does(), options);
    let isDone = false;
    const onFinish = async () => {
      await sleep(100);
      isDone = true;
    };
    expect(await parallel.some([{ gives: 1 }], { onFinish })).toBe(true);
    expect(isDone).toBe(true);
    const reason = new Error("from onFinish");
    const bad = parallel.some([{ gives: 1 }, { ms: FOR_EVER }], {
      onFinish: () => Promise.reject(reason),
    });
    expect(await rejection(bad)).toBe(reason);
  });

  it("report only items that have finished", async () => {
    const onFinish = vi.fn();
    const parallel = opened(new Does(), { ...options, concurrency: 2, finishInOrder: true });
    const long = { makes: sign, ms: FOR_EVER };
    expect(await parallel.some([long, { until: sign, gives: 1 }], { onFinish })).toBe(true);
    expect(onFinish.mock.calls.map(([, index]) => index)).toEqual([1]);
  });

  it("reject with the reason of an abort", async () => {
    const parallel = opened(new Does(), options);
    const signal = AbortSignal.timeout(300);
    const call = parallel.find([{ log, ms: FOR_EVER }], { signal });
    expect(await rejection(call)).toBe(signal.reason);
    expectGone(0);
  });

  it("accept async items, even if one is never delivered", async () => {
    const parallel = opened(new Does(), options);
    const answer = { until: sign, gives: 1 };
    async function* items() {
      yield { gives: 0 };
      yield answer;
      // The next item is requested before the answer is known.
      writeFileSync(sign, "");
      await new Promise(() => {});
    }
    expect(await parallel.find(items())).toEqual(answer);
  });
});

it("a text answers yes unless it is empty", async () => {
  const parallel = opened(new Echo(), { pool: 1 });
  expect(await parallel.some(["", ""])).toBe(false);
  expect(await parallel.find(["", "0"])).toBe("0");
});

/** Expects that the children which began these items have ended. */
function expectGone(...indexes: number[]): void {
  const pids = begun(log).filter(({ index }) => indexes.includes(index));
  expect(pids.filter(({ pid }) => isAlive(pid))).toEqual([]);
}

function threeOf<Options extends object>(options: Options) {
  return "pool" in options ? { ...options, pool: 3 } : { ...options, concurrency: 3 };
}
