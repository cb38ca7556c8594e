/** With `serialization: "advanced"`: every kind of value that structured clone keeps, as an item and as a result. */
import { isDeepStrictEqual } from "node:util";
import { deserialize, serialize } from "node:v8";
import type { ParallelOptions } from "forkmap";
import { describe, expect, it } from "vitest";
import {
  CLONEABLE,
  FailsAfterChange,
  GivesCloneable,
  inWords,
  Inspects,
  SIZES,
} from "../fixtures/cloneable.mjs";
import { Echo, LateEcho } from "../fixtures/echo.mjs";
import { opened } from "../support/opened.js";
import { HERE, mapIn, WAYS } from "../support/ways.js";

const ADVANCED = { serialization: "advanced" } as const;

type Makes = Record<string, () => unknown>;
const makes = CLONEABLE as Makes;
const sizes = SIZES as Makes;
const names = Object.keys(makes);
const sizeNames = Object.keys(sizes);

/** Returns what structured clone makes of a value. */
function cloned(value: unknown): unknown {
  return deserialize(serialize(value));
}

/** Compares each value with the clone of the one that was made by its name. */
function expectClones(found: readonly unknown[], of: readonly string[], from: Makes): void {
  expect(found).toHaveLength(of.length);
  const inBoth = (value: unknown, i: number) => `${of[i]}: ${inWords(value)}`;
  expect(found.map(inBoth)).toEqual(of.map((name) => cloned(from[name]!())).map(inBoth));
}

/** Not in words, which take long for long values. */
function expectSizes(found: readonly unknown[]): void {
  const isOther = (name: string, i: number) => !isDeepStrictEqual(found[i], cloned(sizes[name]!()));
  expect(found).toHaveLength(sizeNames.length);
  expect(sizeNames.filter(isOther)).toEqual([]);
}

describe.each(WAYS)("in $name", (way) => {
  const map = (worker: any, items: unknown[]) => mapIn(way, worker, items, ADVANCED);
  // To start Node for each of them takes long; a pool of spawned processes receives all.
  const isSlow = way.name === "a spawned child for each item";
  const some = isSlow ? names.filter((_, i) => i % 5 === 0) : names;

  it("items arrive as structured clone makes them", async () => {
    const items = some.map((name) => makes[name]!());
    const found = await map(new Inspects(), items);
    expect(found).toEqual(some.map((name) => inWords(cloned(makes[name]!()))));
  });

  it("results arrive as structured clone makes them", async () => {
    expectClones(await map(new GivesCloneable(), some), some, makes);
  });

  it("values of all sizes arrive whole, both ways", async () => {
    expectSizes(await map(new GivesCloneable(), sizeNames));
    const items = sizeNames.map((name) => sizes[name]!());
    expectSizes(await map(new Echo(), items));
  });

  it("what is in a value several times stays one", async () => {
    const [found] = await map(new GivesCloneable(), ["what is in it several times"]);
    expect(found.other[0]).toBe(found.one);
    const [[key, value]] = [...found.other[1]];
    expect(key).toBe(found.one);
    expect(value).toBe(found.one);
    expect(found.same).toBe(found.bytes);
    const [cycle] = await map(new LateEcho(), [makes["what contains itself"]!()]);
    expect(cycle.self).toBe(cycle);
    expect(cycle.list[1]).toBe(cycle.list);
    expect(cycle.map.get(cycle.map)).toBe(cycle);
    expect(cycle.set.has(cycle.set)).toBe(true);
  });

  it("an item that is tried again is whole, though the worker has changed its copy", async () => {
    const retries: ParallelOptions = { retries: 2, retryDelay: { min: 0, max: 0 }, ...ADVANCED };
    const items = () => [
      new Map([["a", 1n]]),
      new Map([["b", "x".repeat(70_000)]]),
      new Map([["c", new Uint8Array(2 ** 20)]]),
      new Set([undefined]),
      Uint8Array.of(9, 9),
      new Uint8Array(70_000).fill(9),
    ];
    const given = items();
    const found = await mapIn(way, new FailsAfterChange(2, false), given, retries);
    expect(isDeepStrictEqual(found, items())).toBe(true);
    expect(isDeepStrictEqual(given, items())).toBe(true);
    // A thread that kills its process kills this one.
    if (way.inThreads) return;
    const survived = await mapIn(way, new FailsAfterChange(1, true), given, {
      ...retries,
      // Other items of a child that dies are tried again too.
      retries: 20,
    });
    expect(isDeepStrictEqual(survived, items())).toBe(true);
  });
});

describe("in this process", () => {
  it("items and results are passed as they are", async () => {
    const items = [...names.map((name) => makes[name]!()), ...sizeNames.map((s) => sizes[s]!())];
    const found = await mapIn(HERE, new Echo(), items, ADVANCED);
    expect(found.findIndex((each, i) => !Object.is(each, items[i]))).toBe(-1);
    expect(found).toHaveLength(items.length);
  });

  it("results are those of the worker", async () => {
    const found = await mapIn(HERE, new GivesCloneable(), names, ADVANCED);
    expect(found.map(inWords)).toEqual(names.map((name) => inWords(makes[name]!())));
  });
});

describe.each([
  { startMethod: "fork", concurrency: 2 },
  { startMethod: "fork", pool: 2 },
  { startMethod: "spawn", pool: 1 },
  { pool: 1, threads: 2 },
  { pool: 0 },
] as const)("every verb, %j", (options) => {
  const some = [
    "the primitive undefined",
    "the primitive -0",
    "an invalid Date",
    "a Map",
    "a long text inside",
    "what contains itself",
    "a RangeError with causes",
    "a Buffer inside",
  ];
  const items = () => some.map((name) => makes[name]!());
  const open = () => opened<unknown, unknown>(new LateEcho() as any, { ...options, ...ADVANCED });

  it("mapSettled", async () => {
    const settled = await open().mapSettled(items());
    expect(settled.map(({ status }) => status)).toEqual(some.map(() => "fulfilled"));
    const values = settled.map((each) => (each as PromiseFulfilledResult<unknown>).value);
    expectClones(values, some, makes);
  });

  it("stream, in both orders", async () => {
    const parallel = open();
    const inOrder: unknown[] = [];
    for await (const each of parallel.stream(items())) inOrder.push(each);
    expectClones(inOrder, some, makes);
    const inAny: unknown[] = [];
    for await (const each of parallel.stream(items(), { ordered: false })) inAny.push(each);
    expect(inAny.map(inWords).sort()).toEqual(inOrder.map(inWords).sort());
  });

  it("run", async () => {
    const parallel = open();
    expectClones(await Promise.all(items().map((item) => parallel.run(item))), some, makes);
  });

  it("hooks get the item of the caller and the result", async () => {
    const given = items();
    const told: unknown[] = [];
    const onFinish = (item: unknown, index: number, result: unknown) => {
      expect(item).toBe(given[index]);
      told[index] = result;
    };
    const started: unknown[] = [];
    const onStart = (item: unknown, index: number) => void (started[index] = item);
    const found = await open().mapProcesses(given, { onStart, onFinish });
    expectClones(told, some, makes);
    for (const [i, each] of found.entries()) expect(told[i]).toBe(each);
    for (const [i, each] of given.entries()) expect(started[i]).toBe(each);
  });

  it("flatMap, find and filterMap", async () => {
    const parallel = open();
    const lists = [[new Date(1), undefined], new Set([1]), [[-0]]];
    expect(await parallel.flatMap(lists)).toStrictEqual([
      new Date(1),
      undefined,
      new Set([1]),
      [-0],
    ]);
    const found = new Map([[1, 1n]]);
    expect(await parallel.find([undefined, NaN, 0n, -0, "", found])).toBe(found);
    expect(await parallel.filterMap([undefined, null, NaN, 0n])).toEqual(
      (await opened(new LateEcho() as any, { pool: 0, ...ADVANCED }).filterMap([
        undefined,
        null,
        NaN,
        0n,
      ])) as unknown[],
    );
  });
});

it("runThread and eachThread take any value too", async () => {
  const parallel = opened<unknown, unknown>(new LateEcho() as any, { concurrency: 2, ...ADVANCED });
  const values = await Promise.all(names.map((name) => parallel.runThread(makes[name]!())));
  expectClones(values, names, makes);
  expect(await parallel.eachThread(names.map((name) => makes[name]!()))).toBe(0);
});

it("items of one batch that are short, long, text and bytes arrive each as it is", async () => {
  const items = Array.from({ length: 200 }, (_, i) =>
    [
      i,
      `text ${i}`,
      Uint8Array.of(i, 1),
      new Map([[i, -0]]),
      undefined,
      "x".repeat(10_000 + i),
      new Uint8Array(9000 + i).fill(i),
      { a: [i, new Date(i), "y".repeat(7000)] },
    ].at(i % 8),
  );
  for (const way of WAYS.filter(({ options }) => options.startMethod !== "spawn")) {
    const found = await mapIn(way, new LateEcho(), items, { ...ADVANCED, batch: 50 });
    expect(found.findIndex((each, i) => !isDeepStrictEqual(each, items[i]))).toBe(-1);
    expect(found).toHaveLength(items.length);
  }
});
