import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { Echo, EchoJson } from "../fixtures/echo.mjs";
import { Spans } from "../fixtures/spans.mjs";
import { ThrowsBelowZero } from "../fixtures/throws.mjs";
import { children } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";

const MIB = 1024 * 1024;

describe.each(["fork", "spawn"] as const)("items by %s", (startMethod) => {
  it("come from any Iterable or AsyncIterable", async () => {
    const parallel = opened(new Echo(), { startMethod });
    const letters = ["a", "b", "c"];
    const sources = [
      new Set(letters),
      new Map(letters.map((each) => [each, 1])).keys(),
      (function* () {
        yield* letters;
      })(),
      (async function* () {
        for (const each of letters) yield sleep(1, each);
      })(),
      new ReadableStream<string>({
        start(controller) {
          for (const each of letters) controller.enqueue(each);
          controller.close();
        },
      }),
    ];
    for (const items of sources)
      expect(await parallel.mapProcesses(items as Iterable<string>)).toEqual(letters);
  });

  it("may be any JSON value", async () => {
    const items = [
      null,
      true,
      0,
      -1.5,
      1e300,
      "",
      "\ud800",
      [],
      {},
      [[1]],
      { a: { b: [null] }, ключ: "ü" },
      "null",
    ];
    expect(await opened(new EchoJson(), { startMethod }).mapProcesses(items)).toEqual(items);
  });

  it("are serialised by toJSON, without undefined properties", async () => {
    const items = [new Date(0), { at: new Date(1), gone: undefined }];
    const expected = ["1970-01-01T00:00:00.000Z", { at: "1970-01-01T00:00:00.001Z" }];
    expect(await opened(new EchoJson(), { startMethod }).mapProcesses(items)).toEqual(expected);
  });

  it("that repeat a reference without a cycle are accepted", async () => {
    const shared = { a: 1 };
    const items = [[shared, shared]];
    expect(await opened(new EchoJson(), { startMethod }).mapProcesses(items)).toEqual(items);
  });

  it("may be large", async () => {
    const items = ["é\0".repeat((5 * MIB) / 3), { text: "x".repeat(10 * MIB) }, "y".repeat(9000)];
    const results = await opened(new EchoJson(), { startMethod }).mapProcesses(items);
    expect(results.map((each, i) => JSON.stringify(each) === JSON.stringify(items[i]))).toEqual([
      true,
      true,
      true,
    ]);
  });

  it.each([undefined, null, 7, "text", {}, () => {}])(
    "must be iterable, and %s is not",
    async (items) => {
      const error = await rejection(
        opened(new Echo(), { startMethod }).mapProcesses(items as never),
      );
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain(
        "Expected `items` to be an Iterable or AsyncIterable such as an array, got ",
      );
      expect(children()).toEqual([]);
    },
  );

  it("are pulled one at a time, when a slot is free", async () => {
    let pulled = 0;
    let finished = 0;
    const ahead: number[] = [];
    const source = function* () {
      for (; pulled < 12;) {
        pulled += 1;
        ahead.push(pulled - finished);
        yield pulled;
      }
    };
    const onFinish = () => {
      finished += 1;
    };
    await opened(new Spans(), { startMethod, concurrency: 2 }).mapProcesses(source(), { onFinish });
    // Two in their slots, and two whose slots are free again but whose onFinish has not yet been called.
    expect(Math.max(...ahead)).toBeLessThanOrEqual(4);
    expect(pulled).toBe(12);
  });

  it("are never requested while the previous request is pending", async () => {
    let asked = 0;
    let most = 0;
    const source = {
      [Symbol.asyncIterator]: () => {
        let n = 0;
        return {
          async next() {
            asked += 1;
            most = Math.max(most, asked);
            await sleep(20);
            asked -= 1;
            n += 1;
            return n > 4
              ? { done: true as const, value: undefined }
              : { done: false as const, value: String(n) };
          },
        };
      },
    };
    expect(await opened(new Echo(), { startMethod, concurrency: 4 }).mapProcesses(source)).toEqual([
      "1",
      "2",
      "3",
      "4",
    ]);
    expect(most).toBe(1);
  });

  it("have their source closed when the call ends early, and not when they are exhausted", async () => {
    const closed = vi.fn();
    const source = function* (...values: number[]) {
      try {
        yield* values;
      } finally {
        closed();
      }
    };
    const parallel = opened(new ThrowsBelowZero(), { startMethod, concurrency: 1 });
    await rejection(parallel.mapProcesses(source(-1, 2, 3, 4, 5, 6)));
    expect(closed).toHaveBeenCalledOnce();

    const finish = vi.fn(() => ({ done: true as const, value: undefined }));
    const whole = { [Symbol.iterator]: () => Object.assign([1, 2].values(), { return: finish }) };
    await parallel.mapProcesses(whole as Iterable<number>);
    expect(finish).not.toHaveBeenCalled();
  });

  it("whose source throws end the call with its error, once the items in flight are done", async () => {
    const reason = new Error("from the source");
    const finished: string[] = [];
    const source = function* () {
      yield "a";
      throw reason;
    };
    const call = opened(new Echo(), { startMethod }).mapProcesses(source(), {
      onFinish: (item) => finished.push(item),
    });
    expect(await rejection(call)).toBe(reason);
    expect(finished).toEqual(["a"]);
  });

  it("whose asynchronous source rejects end the call with its error", async () => {
    expect(await rejection(opened(new Echo(), { startMethod }).mapProcesses(failingSource()))).toBe(
      "from the source",
    );
  });

  it("whose iterator cannot be created end the call with that error", async () => {
    const source = {
      [Symbol.iterator]: () => {
        throw new RangeError("no iterator");
      },
    };
    expect(
      await rejection(opened(new Echo(), { startMethod }).mapProcesses(source)),
    ).toBeInstanceOf(RangeError);
  });

  it("whose source cannot be closed end the call with the first error, once no child is alive", async () => {
    const source = {
      [Symbol.iterator]: () => ({
        ...countdown(400, -1, 5, 5, 5),
        return: () => {
          throw new Error("from return");
        },
      }),
    };
    const parallel = opened(new ThrowsBelowZero(), { startMethod, concurrency: 2 });
    expect(await rejection(parallel.mapProcesses(source))).toMatchObject({
      index: 1,
      code: "ERR_PARALLEL_ITEM",
    });
    expect(children(parallel.stats().pids)).toEqual([]);
  });
});

it.each<[string, () => unknown]>([
  ["undefined", () => undefined],
  ["a function", () => () => {}],
  ["a bigint", () => 1n],
  ["a symbol", () => Symbol("s")],
  ["NaN", () => NaN],
  ["Infinity", () => ({ a: Infinity })],
  ["a Map", () => [new Map()]],
  ["a Set", () => new Set()],
  ["a RegExp", () => /a/],
  ["an Error", () => new Error("e")],
  ["a Promise", () => Promise.resolve()],
  ["what JSON keeps nothing of", () => new URLSearchParams("a=1")],
  ["a typed array other than bytes", () => new Uint16Array(2)],
  ["bytes inside", () => ({ a: [new Uint8Array(2)] })],
  ["a Buffer inside", () => [Buffer.from("a")]],
  ["a function inside", () => ({ a: { b: () => {} } })],
  ["undefined inside an array", () => [1, undefined]],
  [
    "a cycle",
    () => {
      const it: { self?: unknown } = {};
      it.self = it;
      return it;
    },
  ],
])("items that JSON cannot represent are refused by index: %s", async (_, make) => {
  const error = await rejection(
    opened(new EchoJson(), { concurrency: 1 }).mapProcesses([1, make()]),
  );
  expect(error).toBeInstanceOf(TypeError);
  expect(error.message).toMatch(/^Item 1 is not a JSON value: /);
});

function countdown(...values: number[]): Iterator<number> {
  const iterator = values.values();
  return { next: () => iterator.next() };
}

async function* failingSource() {
  yield await sleep(1, "a");
  throw "from the source";
}
