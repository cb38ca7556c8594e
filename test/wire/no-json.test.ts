/** Values that JSON cannot represent: as items, in every mode and for every verb; and as results. */
import { CommandWorker, type ParallelOptions, ResultTypeError } from "forkmap";
import { describe, expect, it } from "vitest";
import { EchoJson } from "../fixtures/echo.mjs";
import { ReturnsOdd } from "../fixtures/returns.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

/** Deeper than any stack of Node allows, and created without recursion. */
function deep(): unknown {
  let value: unknown = 1;
  for (let i = 0; i < 50_000; i += 1) value = [value];
  return value;
}

const ITEMS: Record<string, [() => unknown, string]> = {
  "whose toJSON returns undefined": [
    () => ({ toJSON() {} }),
    "it has a `toJSON` that returns undefined",
  ],
  "with such a value in it": [
    () => ({ a: [{ toJSON() {} }] }),
    "`a.0` has a `toJSON` that returns undefined",
  ],
  "whose toJSON gives a Map": [() => ({ toJSON: () => new Map() }), "it is an instance of Map"],
  "whose toJSON throws": [
    () => ({
      toJSON() {
        throw new Error("toJSON!");
      },
    }),
    "it threw Error: toJSON! when it was read",
  ],
  "whose toJSON gives ever more of the same": [
    () => ({
      toJSON(): unknown {
        return { a: this };
      },
    }),
    "it is nested too deeply",
  ],
  "nested too deeply": [deep, "it is nested too deeply"],
  "with a getter that throws": [
    () => ({
      get a() {
        throw new Error("getter!");
      },
    }),
    "it threw Error: getter! when it was read",
  ],
  "with a Proxy in it that refuses all": [
    () => [
      new Proxy(
        {},
        {
          get() {
            throw "no";
          },
        },
      ),
    ],
    'it threw "no" (a string) when it was read',
  ],
  "with a BigInt": [() => ({ n: [1n] }), "`n.0` is a bigint"],
  "with an invalid Date": [() => ({ at: new Date(NaN) }), "`at` is an invalid Date"],
  "with a boxed number": [() => [Object(1)], "`0` is an instance of Number"],
  "that contains itself by its toJSON": [
    () => {
      const inner = { toJSON: () => outer };
      const outer: object = { inner };
      return outer;
    },
    "`inner` contains itself",
  ],
};

const MODES: Record<string, ParallelOptions> = {
  "a child per item": { concurrency: 1 },
  "a pool": { pool: 1 },
  "a pool with threads": { pool: 1, threads: 1 },
  "spawned children": { startMethod: "spawn", concurrency: 1 },
  "no processes": { pool: 0 },
};

/** What structured clone keeps. */
const KEPT = /bigint|invalid Date|instance of Number/;

/** @param mayBeAdvanced - whether the message may name `serialization` */
function check(error: unknown, what: string, mayBeAdvanced = true): void {
  expect(error).toBeInstanceOf(TypeError);
  expect(error).toMatchObject({ name: "TypeError" });
  const { message } = error as Error;
  const advice =
    mayBeAdvanced && KEPT.test(what)
      ? '`serialization: "advanced"` of new Parallel keeps it; or make it of text, '
      : "Items travel as JSON: make it of text, ";
  expect(message).toContain(`Item 1 is not a JSON value: ${what}. ${advice}`);
}

describe("an item that JSON cannot represent is a TypeError that names it", () => {
  it.each(Object.entries(MODES))("with %s", async (_, options) => {
    const parallel = opened(new EchoJson(), options as ParallelOptions<unknown, unknown>);
    for (const [make, what] of Object.values(ITEMS))
      check(await rejection(parallel.mapProcesses([1, make()])), what);
  });

  it.each(Object.entries(ITEMS))("for every verb: %s", async (_, [make, what]) => {
    const parallel = opened(new EchoJson(), { pool: 1 });
    const items = () => [null, make()];
    const calls = [
      parallel.eachProcess(items()),
      parallel.mapSettled(items()),
      parallel.flatMap(items()),
      parallel.find(items()),
      parallel.mapProcesses(items(), { onStart() {} }),
      parallel.mapProcesses(items(), { dedupe: true }),
      parallel.mapProcesses(items(), { journal: temporaryDirectory() }),
      readAll(parallel.stream(items())),
    ];
    for (const error of await Promise.all(calls.map((each) => rejection(each)))) check(error, what);
  });

  it("in threads, and for a program", async () => {
    const script = 'while read -r l; do echo \'{"status":"ok","result":1}\'; done';
    const program = opened(new CommandWorker({ argv: ["sh", "-c", script] }), { pool: 1 });
    const threads = opened(new EchoJson(), { concurrency: 1 });
    for (const [make, what] of Object.values(ITEMS)) {
      check(await rejection(program.mapProcesses([1, make()])), what, false);
      check(await rejection(threads.mapThreads([1, make()])), what);
    }
  });
});

async function readAll(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

/** Returns an object whose getter throws from the given read on, as if another part of the program had changed it. */
function throwsFrom(read: number): object {
  let reads = 0;
  return {
    get a() {
      reads += 1;
      if (reads >= read) throw new Error(`read ${reads}`);
      return reads;
    },
  };
}

it("an item that cannot be read a second time is also named", async () => {
  const n = 2;
  for (const [name, options] of Object.entries({
    ...MODES,
    dedupe: { dedupe: true, pool: 1 },
  })) {
    if (options.pool === 0) continue;
    const parallel = opened(new EchoJson(), options as ParallelOptions<unknown, unknown>);
    const error = await rejection(parallel.mapProcesses([1, throwsFrom(n)]));
    check(error, `it threw Error: read ${n} when it was read`);
    expect(error.cause, name).toMatchObject({ message: `read ${n}` });
    await parallel.close();
  }
});

const KEPT_RESULTS = new Set(["invalidDate", "boxed", "map"]);

describe.each(["fork", "spawn", "inline"] as const)("a result by %s", (method) => {
  const options: ParallelOptions<string> =
    method === "inline" ? { pool: 0 } : { startMethod: method };

  it.each([
    ["undefinedMade", "an object: it has a `toJSON` that returns undefined"],
    ["undefinedWithin", "an object: `a` has a `toJSON` that returns undefined"],
    ["deep", "an array: it is nested too deeply"],
    ["invalidDate", "an array: `0` is an invalid Date"],
    ["boxed", "an array: `0` is an instance of Number"],
    ["map", "an instance of Map"],
    ["response", "an instance of Response, which JSON would turn into {}"],
    ["generator", "an object, which JSON would turn into {}"],
    ["within", "an object: `headers` is an instance of Headers, which JSON would turn into {}"],
  ])("that JSON cannot represent is reported with its type: %s", async (name, got) => {
    const error = await rejection(opened(new ReturnsOdd(), options).mapProcesses([name]));
    expect(error).toBeInstanceOf(ResultTypeError);
    const advice = KEPT_RESULTS.has(name)
      ? ' (`serialization: "advanced"` of new Parallel keeps it)'
      : "";
    expect(error.message).toContain(`Item 0 returned ${got}${advice}, expected a JSON value`);
  });

  it("whose own code throws fails with that error", async () => {
    const error = await rejection(opened(new ReturnsOdd(), options).mapProcesses(["getter"]));
    expect(error.message).toContain("Item 0 failed: Error: getter!");
    expect(error.cause.stack).toContain("returns.mjs");
  });
});

it("changes by JSON that the README documents apply", async () => {
  const item = {
    zero: -0,
    gone: undefined,
    [Symbol("s")]: 1,
    match: Object.assign(["a"], { index: 0 }),
  };
  const [result] = (await opened(new EchoJson(), { pool: 1 }).mapProcesses([item])) as any[];
  expect(result).toStrictEqual({ zero: 0, match: ["a"] });
});
