import { readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Does } from "../fixtures/does.mjs";
import { children } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { makesAfter } from "../support/after-item.js";
import { runs } from "../support/run-log.js";
import { temporaryDirectory } from "../support/temporary.js";

const fails = { throws: "failed" };
const works = { gives: 1 };

/** Items of which those with the given indexes fail, and a count of those pulled. */
function some(count: number, isFailure: (index: number) => boolean) {
  const source = { pulled: 0, items: generate() };
  function* generate(): Generator<object> {
    for (; source.pulled < count; source.pulled += 1) {
      yield isFailure(source.pulled) ? fails : { gives: source.pulled };
    }
  }
  return source;
}

describe.each([{ concurrency: 1 }, { pool: 1 }, { pool: 0 }])("halt, %j", (given) => {
  const options = { startMethod: "fork", ...given } as const;

  it("failures: that many end the call, with the first of them", async () => {
    const parallel = opened(new Does(), { ...options, halt: { failures: 3 } });
    const source = some(60, (index) => index % 2 === 1);
    const error = await rejection(parallel.mapProcesses(source.items, { batch: 1 }));
    expect(error).toMatchObject({ name: "ItemError", index: 1, cause: { message: "failed" } });
    expect(error.errors.map((each: any) => each.index)).toEqual([3, 5]);
    expect(error.results).toEqual([0, undefined, 2, undefined, 4]);
    expect(source.pulled).toBeLessThan(12);
  });

  it("failures: fewer are reported at the end, whatever stopOnError says", async () => {
    const parallel = opened(new Does(), { ...options, halt: { failures: 3 }, stopOnError: true });
    const error = await rejection(parallel.mapProcesses([fails, works, fails, works]));
    expect(error).toBeInstanceOf(AggregateError);
    expect(error.message).toBe("2 of 4 items failed");
    expect(error.results).toEqual([undefined, 1, undefined, 1]);
  });

  it("ratio: applies to the finished items, once there are ten", async () => {
    const parallel = opened(new Does(), { ...options, halt: { ratio: 0.5 }, batch: 1 });
    const early = await rejection(parallel.mapProcesses(some(9, () => true).items));
    expect(early.errors).toHaveLength(9);
    const all = some(60, () => true);
    const error = await rejection(parallel.mapProcesses(all.items));
    expect([error.index, ...error.errors.map((each: any) => each.index)]).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ]);
    expect(all.pulled).toBeLessThan(14);
    const few = some(40, (index) => index % 3 === 0);
    expect((await rejection(parallel.mapProcesses(few.items))).message).toBe(
      "14 of 40 items failed",
    );
  });

  it("does not apply to mapSettled", async () => {
    const parallel = opened(new Does(), { ...options, halt: { failures: 1 } });
    const settled = await parallel.mapSettled([fails, works, fails]);
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected"]);
  });
});

it("halt counts the recorded results of an earlier run", async () => {
  const journal = path.join(temporaryDirectory(), "journal");
  const parallel = opened(new Does(), { pool: 0, journal, halt: { ratio: 0.5 } });
  const good = Array.from({ length: 30 }, (_, gives) => ({ gives }));
  await parallel.mapProcesses(good);
  const error = await rejection(
    parallel.mapProcesses([...good, ...Array.from({ length: 20 }, () => fails)]),
  );
  expect(error.message).toBe("20 of 50 items failed");
});

it.each([
  ["failures", 0],
  ["failures", 1.5],
  ["ratio", 0],
  ["ratio", 1.1],
  ["ratio", NaN],
  ["other", 1],
])("halt: {%s: %d} is refused", (name, value) => {
  expect(() => opened(new Does(), { halt: { [name]: value } })).toThrow(`halt.${name}`);
});

describe.each([{ concurrency: 3 }, { pool: 3 }])("an error that ends a call, %j", (options) => {
  it("carries the other errors and the results so far, as non-enumerable properties", async () => {
    const directory = temporaryDirectory();
    const [first, third, end] = ["first", "third", "end"].map((name) => path.join(directory, name));
    makesAfter(1, end!);
    const parallel = opened(new Does(), { startMethod: "fork", ...options });
    const items = [
      { makes: first, until: end, throws: "late" },
      { until: [first, third], throws: "first" },
      { makes: third, until: end, gives: 2 },
    ];
    for (const verb of ["mapProcesses", "flatMap", "eachProcess"] as const) {
      const error = await rejection(parallel[verb](items));
      expect(error).toMatchObject({ index: 1, cause: { message: "first" } });
      expect(error.errors.map((each: any) => each.cause.message)).toEqual(["late"]);
      expect(error.results).toEqual(verb === "eachProcess" ? [] : [undefined, undefined, 2]);
      expect(Object.keys(error)).not.toContain("results");
      expect(Object.keys(error)).not.toContain("errors");
      for (const file of readdirSync(directory)) rmSync(path.join(directory, file));
    }
  });
});

describe.each([{ concurrency: 2 }, { pool: 2 }])("minFreeMemory, %j", (given) => {
  const options = { startMethod: "fork", ...given } as const;
  const log = () => path.join(temporaryDirectory(), "log");

  it("does not delay a call when that much is free", async () => {
    const parallel = opened(new Does(), { ...options, minFreeMemory: 1 });
    expect(await parallel.mapProcesses([works, works])).toEqual([1, 1]);
  });

  it("starts no child while less is free; an abort ends the wait", async () => {
    const file = log();
    const controller = new AbortController();
    const parallel = opened(new Does(), options);
    await parallel.ready();
    const { signal } = controller;
    const minFreeMemory = Number.MAX_SAFE_INTEGER;
    const call = parallel.mapProcesses([{ log: file }, { log: file }], { minFreeMemory, signal });
    await sleep(300);
    expect(children(parallel.stats().pids)).toEqual([]);
    controller.abort("enough");
    expect(await rejection(call)).toBe("enough");
    expect(runs(file)).toBe(0);
    expect(await parallel.mapProcesses([works])).toEqual([1]);
  });
});

it("existing children of a pool are used, however little memory is free", async () => {
  const parallel = opened(new Does(), { startMethod: "fork", pool: 2 });
  await parallel.mapProcesses([works]);
  const minFreeMemory = Number.MAX_SAFE_INTEGER;
  expect(
    await parallel.mapProcesses([works, { ms: 30, gives: 2 }, works], { minFreeMemory }),
  ).toEqual([1, 2, 1]);
  const { slots } = parallel.stats();
  expect(slots.map(({ num, items, restarts }) => [num, items, restarts])).toEqual([[0, 4, 0]]);
});
