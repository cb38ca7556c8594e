import path from "node:path";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { Does } from "../fixtures/does.mjs";
import { EchoJson } from "../fixtures/echo.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { runs } from "../support/run-log.js";
import { temporaryDirectory } from "../support/temporary.js";

let log: string;
let sign: string;
beforeEach(() => {
  const directory = temporaryDirectory();
  log = path.join(directory, "log");
  sign = path.join(directory, "sign");
});

describe.each([
  { startMethod: "fork", concurrency: 2 },
  { startMethod: "fork", pool: 2 },
  { startMethod: "spawn", pool: 1 },
  { pool: 0 },
] as const)("dedupe, %j", (given) => {
  const options = { ...given, dedupe: true };
  /** An item that others wait for while it runs, and one whose equals arrive when its result is known. */
  const a = () => ({ log, ms: 20, gives: "a" });
  const b = () => ({ log, gives: "b" });

  it("runs equal items once, whatever the order of their keys", async () => {
    const parallel = opened(new Does(), options);
    const items = [a(), { gives: "a", ms: 20, log }, b(), a(), b(), { log, gives: "c" }, a()];
    const results = await parallel.mapProcesses(items);
    expect(results).toEqual(["a", "a", "b", "a", "b", "c", "a"]);
    expect(runs(log)).toBe(3);
    expect(parallel.stats().items).toEqual({ succeeded: 7, failed: 0 });
    // Equal items of separate calls run separately.
    expect(await parallel.mapProcesses([b(), b()])).toEqual(["b", "b"]);
    expect(runs(log)).toBe(4);
  });

  it("distinguishes what JSON distinguishes", async () => {
    const items = [1, "1", true, "true", null, "null", [1], ["1"], { a: 1 }, { a: "1" }, {}, []];
    const parallel = opened(new EchoJson(), options);
    expect(await parallel.mapProcesses([...items, ...items])).toEqual([...items, ...items]);
    const sum = (count: number, slot: { items: number }) => count + slot.items;
    expect(parallel.stats().slots.reduce(sum, 0)).toBe(items.length);
  });

  it("shares a failure too, also with items that arrive after it", async () => {
    const fails = () => ({ log, throws: "failed" });
    const parallel = opened(new Does(), { ...options, stopOnError: false });
    const items = [
      fails(),
      b(),
      fails(),
      ...Array.from({ length: 20 }, (_, gives) => ({ gives })),
      fails(),
    ];
    const settled = await parallel.mapSettled(items);
    const failed = settled.flatMap((each, i) => (each.status === "rejected" ? [i] : []));
    expect(settled.length).toBe(24);
    expect(failed).toEqual([0, 2, 23]);
    expect((settled[23] as any).reason.cause.message).toBe("failed");
    expect(runs(log)).toBe(2);
    const error = await rejection(parallel.mapProcesses(items));
    expect(error.message).toBe("3 of 24 items failed");
    expect((await rejection(parallel.mapProcesses(items, { stopOnError: true }))).index).toBe(0);
  });

  it("retries once for all of them", async () => {
    const item = { log, throws: "failed", times: 1, gives: 1 };
    const parallel = opened(new Does(), { ...options, retries: 1, retryDelay: { min: 0, max: 0 } });
    const attempts: number[] = [];
    const onFinish = (_i: object, _n: number, _r: unknown, info: { attempt: number }) =>
      attempts.push(info.attempt);
    expect(await parallel.mapProcesses([item, item, b(), item], { onFinish })).toEqual([
      1,
      1,
      "b",
      1,
    ]);
    expect(attempts.toSorted()).toEqual([1, 2, 2, 2]);
    expect(runs(log)).toBe(3);
  });

  it("calls onStart for the first, and onFinish for each", async () => {
    const onStart = vi.fn();
    const onFinish = vi.fn();
    const parallel = opened(new Does(), { ...options, onStart, onFinish });
    await parallel.mapProcesses([a(), a(), b(), a(), b(), b(), a()]);
    expect(onStart.mock.calls.map(([, index]) => index)).toEqual([0, 2]);
    const told = onFinish.mock.calls.map(([, index, result]) => [index, result]);
    const all = ["a", "a", "b", "a", "b", "b", "a"].map((result, index) => [index, result]);
    expect(told.toSorted(([x], [y]) => x - y)).toEqual(all);
    onFinish.mockClear();
    await parallel.mapProcesses([a(), b(), a(), b(), a(), b()], { finishInOrder: true });
    expect(onFinish.mock.calls.map(([, index]) => index)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("streams in both orders", async () => {
    const parallel = opened(new Does(), options);
    for (const ordered of [true, false]) {
      const results: unknown[] = [];
      const items = [a(), b(), a(), b(), a(), b(), a(), b()];
      for await (const each of parallel.stream(items, { ordered, backpressure: 3 })) {
        results.push(each);
      }
      if (!ordered) results.sort((x, y) => String(x).localeCompare(String(y)));
      expect(results.join("")).toBe(ordered ? "abababab" : "aaaabbbb");
    }
    expect(runs(log)).toBe(4);
  });
});

it("a known answer does not end the items before it", async () => {
  // Pulled asynchronously, the earlier item is still in flight when the later answer is known.
  async function* items() {
    yield { gives: 0 };
    yield { log, makes: sign, gives: 1 };
    yield { gives: 0 };
  }
  const parallel = opened(new Does(), { startMethod: "fork", pool: 2, dedupe: true });
  expect(await parallel.find(items())).toMatchObject({ gives: 1 });
  const slow = { until: sign, ms: 50, gives: 1 };
  const all = [{ gives: 0 }, slow, { gives: 2 }, { gives: 2 }];
  expect(await parallel.find(all, { onStart: () => {} })).toBe(slow);
});
