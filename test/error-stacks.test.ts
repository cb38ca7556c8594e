/** The stack of a call's error begins in the caller's code, ends in the worker's, and has no line of the library. */
import { fileURLToPath } from "node:url";
import { ItemError, JsonWorker, LaunchError, Parallel, WorkerModuleError } from "forkmap";
import { describe, expect, it } from "vitest";
import { ThrowsBelowZero } from "./fixtures/throws.mjs";
import { Broken } from "./fixtures/broken.mjs";
import { opened } from "./support/opened.js";
import { rejection } from "./support/rejection.js";
import { fixture, runScript } from "./support/run-script.js";

const THIS_FILE = "error-stacks.test.ts";
const OWN_FILES = fileURLToPath(new URL("../dist", import.meta.url));

function framesOf(error: Error): string[] {
  const frames = error.stack!.split("\n").filter((line) => line.startsWith("    at "));
  expect(frames.filter((line) => line.includes(OWN_FILES))).toEqual([]);
  return frames;
}

function expectCaller(error: Error): void {
  expect(error.stack).toContain(`${error.name}: ${error.message}\n    at `);
  expect(framesOf(error)[0]).toContain(THIS_FILE);
}

type Call = (parallel: Parallel<number, unknown>) => Promise<unknown>;
const VERBS: Record<string, Call> = {
  mapProcesses: (parallel) => parallel.mapProcesses([1, -1]),
  eachProcess: (parallel) => parallel.eachProcess([1, -1]),
  mapThreads: (parallel) => parallel.mapThreads([1, -1]),
  eachThread: (parallel) => parallel.eachThread([1, -1]),
  flatMap: (parallel) => parallel.flatMap([1, -1]),
  filterMap: (parallel) => parallel.filterMap([1, -1]),
  some: (parallel) => parallel.some([-1]),
  every: (parallel) => parallel.every([-1]),
  stream: async (parallel) => {
    for await (const _ of parallel.stream([1, -1]));
  },
  mapSettled: async (parallel) => {
    const [, second] = await parallel.mapSettled([1, -1]);
    throw (second as PromiseRejectedResult).reason;
  },
};

describe.each([
  { startMethod: "fork" },
  { startMethod: "spawn" },
  { pool: 1 },
  { pool: 0 },
] as const)("with %j", (options) => {
  it("an item's error begins at the call, and ends where `process` threw", async () => {
    const parallel = opened(new ThrowsBelowZero(), options) as Parallel<number, unknown>;
    for (const [verb, call] of Object.entries(VERBS)) {
      const error = await rejection<ItemError>(call(parallel));
      expect(error, verb).toBeInstanceOf(ItemError);
      expectCaller(error);
      expect(error.stack, verb).toMatch(/\n {2}thrown in the worker:\n {4}at .*throws\.mjs/);
    }
  });

  it("an AggregateError begins there too", async () => {
    const parallel = opened(new ThrowsBelowZero(), options);
    const error = await rejection(parallel.mapProcesses([-1, -1], { stopOnError: false }));
    expect(error).toBeInstanceOf(AggregateError);
    expectCaller(error);
    for (const each of error.errors as Error[]) expectCaller(each);
  });
});

it("every other error of a call begins there too", async () => {
  const cases: [unknown, () => Promise<unknown>][] = [
    [LaunchError, () => opened(new ThrowsBelowZero(), { cwd: "/nowhere" }).mapProcesses([1])],
    [LaunchError, () => opened(new ThrowsBelowZero(), { cwd: "/nowhere" }).ready()],
    [TypeError, () => opened(new ThrowsBelowZero()).mapProcesses([1n as never])],
    [TypeError, () => opened(new ThrowsBelowZero()).mapProcesses(7 as never)],
    [TypeError, () => opened(new ThrowsBelowZero()).mapProcesses([1], { timeout: -1 })],
    [TypeError, () => opened(new ThrowsBelowZero()).mapThreads([1], { timeout: -1 })],
    [TypeError, async () => opened(new ThrowsBelowZero()).stream([1], { timeout: -1 })],
    [TypeError, async () => new Parallel(new ThrowsBelowZero(), { timeout: -1 })],
    [TypeError, async () => new Parallel({} as never)],
  ];
  for (const [type, call] of cases) {
    const error = await rejection(call());
    expect(error).toBeInstanceOf(type);
    expectCaller(error);
  }
});

it("a module that cannot be loaded is reported with both ends", async () => {
  const env = { ...process.env, FORKMAP_TEST_BREAK: "throws" };
  const error = await rejection(
    opened(new Broken() as never, { env }).mapProcesses(["a"] as never),
  );
  expect(error).toBeInstanceOf(WorkerModuleError);
  expectCaller(error);
  expect(error.stack).toMatch(/\n {2}thrown in the worker:\n {4}at .*broken\.mjs/);
});

it("errors thrown by the user's code stay unchanged", async () => {
  class Own extends JsonWorker<number, number> {
    process(n: number): number {
      return n;
    }
  }
  const reason = new Error("mine");
  const { stack } = reason;
  const parallel = opened(new Own(), { pool: 0 });
  const onStart = () => {
    throw reason;
  };
  expect(await rejection(parallel.mapProcesses([1], { onStart }))).toBe(reason);
  const signal = AbortSignal.abort(reason);
  expect(await rejection(parallel.mapProcesses([1], { signal }))).toBe(reason);
  expect(reason.stack).toBe(stack);
});

it("there are no frames if the program disables them", async () => {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    const error = await rejection(opened(new ThrowsBelowZero()).mapProcesses([-1]));
    expect(error).toBeInstanceOf(ItemError);
    expect(error.stack).toContain(`ItemError: ${error.message}`);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
});

describe("in a program", () => {
  it("an uncaught error shows the caller, its callers and the line in `process`, and no line of the library", async () => {
    const { code, stderr } = await runScript(fixture("uncaught.mjs"));
    expect(code).toBe(1);
    expect(stderr).toMatch(/ItemError: Item 1 failed: .*\n {4}at caller .*uncaught\.mjs:7/);
    expect(stderr).toMatch(/\n {4}at callerOfCaller .*uncaught\.mjs:11/);
    expect(stderr).toMatch(/\n {2}thrown in the worker:\n {4}at .*throws\.mjs/);
    expect(stderr).not.toContain(OWN_FILES);
  });

  it("`stack` alone contains all of that", async () => {
    const { stdout } = await runScript(fixture("uncaught.mjs"), { args: ["print"] });
    expect(stdout).toMatch(/\n {4}at caller .*uncaught\.mjs:7/);
    expect(stdout).toMatch(/\n {2}thrown in the worker:\n {4}at .*throws\.mjs/);
    expect(stdout).not.toContain(OWN_FILES);
  });
});
