import { writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it, vi } from "vitest";
import { Does } from "../fixtures/does.mjs";
import { EchoJson } from "../fixtures/echo.mjs";
import { Spans } from "../fixtures/spans.mjs";
import { Waits } from "../fixtures/waits.mjs";
import { opened } from "../support/opened.js";
import { begun } from "../support/run-log.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

describe.each(["fork", "spawn"] as const)("a call by %s", (startMethod) => {
  it("gives a free slot the next item immediately", async () => {
    const directory = temporaryDirectory();
    const [log, sign] = [path.join(directory, "log"), path.join(directory, "sign")];
    const finished: number[] = [];
    // The long item ends after all others: if one of them were assigned to its slot in advance, it would never end.
    await opened(new Does(), { startMethod, concurrency: 2 }).mapProcesses(
      [{ log, until: sign }, { log }, { log }, { log }],
      {
        onFinish: (_, index) => {
          if (finished.push(index) === 3) writeFileSync(sign, "");
        },
      },
    );
    expect(finished).toEqual([1, 2, 3, 0]);
    const nums = new Map(begun(log).map(({ index, num }) => [index, num]));
    expect([0, 1, 2, 3].map((index) => nums.get(index))).toEqual([0, 1, 1, 1]);
  });

  it("never has more children than slots", async () => {
    const spans = await opened(new Spans(), { startMethod, concurrency: 2 }).mapProcesses(
      Array(7).fill(60),
    );
    for (const { from } of spans) {
      expect(
        spans.filter((each) => each.from <= from && from < each.to).length,
      ).toBeLessThanOrEqual(2);
    }
  });

  it("starts no more children than there are items", async () => {
    const spans = await opened(new Spans(), { startMethod, concurrency: 16 }).mapProcesses([1, 1]);
    expect(new Set(spans.map((each) => each.pid)).size).toBe(2);
    expect(new Set(spans.map((each) => each.num))).toEqual(new Set([0, 1]));
  });

  it("numbers the slots from 0, and counts the children of each", async () => {
    const spans = await opened(new Spans(), { startMethod, concurrency: 2 }).mapProcesses(
      Array(6).fill(30),
    );
    expect(new Set(spans.map((each) => each.num))).toEqual(new Set([0, 1]));
    const places = spans.map((each) => `${each.num}/${each.generation}`);
    expect(new Set(places).size).toBe(6);
    expect(places).toContain("0/1");
    expect(places).toContain("1/1");
  });
});

it("runs 200 items in 200 children at once", async () => {
  const directory = temporaryDirectory();
  const [log, sign] = [path.join(directory, "log"), path.join(directory, "sign")];
  const call = opened(new Does(), { startMethod: "fork", concurrency: 200 }).mapProcesses(
    Array.from({ length: 200 }, () => ({ log, until: sign, every: 200 })),
  );
  await vi.waitUntil(() => begun(log).length === 200, SOON);
  expect(new Set(begun(log).map(({ pid }) => pid)).size).toBe(200);
  writeFileSync(sign, "");
  expect(await call).toHaveLength(200);
});

describe.each([
  { startMethod: "fork" },
  { startMethod: "fork", pool: true },
  { startMethod: "spawn", pool: true },
] as const)("parallel.concurrency, %j", (options) => {
  const sized = (size: number) =>
    "pool" in options ? { ...options, pool: size } : { ...options, concurrency: size };
  const nums = (spans: readonly { num: number }[]) =>
    [...new Set(spans.map(({ num }) => num))].toSorted();

  it("can be raised during a call", async () => {
    const parallel = opened(new Does(), sized(1));
    expect(parallel.concurrency).toBe(1);
    const directory = temporaryDirectory();
    const [log, sign] = [path.join(directory, "log"), path.join(directory, "sign")];
    const items = [{ log }, { log }, ...Array.from({ length: 4 }, () => ({ log, until: sign }))];
    const call = parallel.mapProcesses(items, {
      batch: 1,
      onFinish: (_, index) => {
        if (index === 1) parallel.concurrency = 3;
      },
    });
    // The others wait until all have begun.
    const all = () => expect(nums(begun(log))).toEqual([0, 1, 2]);
    await vi.waitFor(all, SOON);
    expect(parallel.concurrency).toBe(3);
    expect(nums(begun(log).slice(0, 2))).toEqual([0]);
    writeFileSync(sign, "");
    await call;
    all();
  });

  it("can be lowered during a call: surplus slots end once they have done their items", async () => {
    const parallel = opened(new Does(), sized(3));
    const directory = temporaryDirectory();
    const log = path.join(directory, "log");
    // The first three wait for each other, so that each has a slot.
    const all = ["a", "b", "c"].map((name) => path.join(directory, name));
    const first = all.map((makes) => ({ log, makes, until: all }));
    const finished: number[] = [];
    const rest = Array.from({ length: 9 }, () => ({ log, ms: 60 }));
    await parallel.mapProcesses([...first, ...rest], {
      batch: 1,
      onFinish: (_, index) => {
        if (finished.push(index) === 3) parallel.concurrency = 1;
      },
    });
    const last = begun(log).filter(({ index }) => index >= 9);
    expect(nums(begun(log))).toEqual([0, 1, 2]);
    expect(nums(last)).toEqual([0]);
    await vi.waitFor(() => {
      const { slots } = parallel.stats();
      expect(slots.slice(1).map(({ pid }) => pid)).toEqual([undefined, undefined]);
    });
    // Raised again: the slots still have their numbers.
    parallel.concurrency = 2;
    const both = ["d", "e"].map((name) => path.join(directory, name));
    const later = path.join(directory, "later");
    await parallel.mapProcesses(both.map((makes) => ({ log: later, makes, until: both })));
    expect(nums(begun(later))).toEqual([0, 1]);
  });

  it("applies to a call whose children are still being prepared", async () => {
    const parallel = opened(new Spans(), sized(3));
    const call = parallel.mapProcesses([20, 20, 20]);
    parallel.concurrency = 1;
    expect(nums(await call)).toEqual([0]);
  });
});

it("parallel.concurrency may change all the time while `run` is called: no item is lost", async () => {
  const parallel = opened(new Waits(), { pool: 4 });
  const change = setInterval(() => {
    parallel.concurrency = 1 + Math.floor(Math.random() * 4);
  }, 5);
  let next = 0;
  const callers = Array.from({ length: 40 }, async () => {
    while ((next += 1) <= 6000) await parallel.run(2);
  });
  await Promise.all(callers).finally(() => clearInterval(change));
  expect(parallel.stats().items).toEqual({ succeeded: 6000, failed: 0 });
});

it.each([0, -1, 1.5, NaN, Infinity, 1025, "2", null, undefined])(
  "parallel.concurrency = %s is refused",
  (value) => {
    const parallel = opened(new EchoJson(), { concurrency: 2 });
    expect(() => (parallel.concurrency = value as never)).toThrow(
      /^Expected `concurrency` to be a whole number from 1 to 1024/,
    );
    expect(parallel.concurrency).toBe(2);
  },
);
