import { existsSync } from "node:fs";
import path from "node:path";
import { describe, expect, it, vi } from "vitest";
import { Does } from "../fixtures/does.mjs";
import { EchoJson } from "../fixtures/echo.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";
import { readTrace, rowsOf, type TraceRow } from "../support/trace-events.js";

const FOR_EVER = 120_000;
const traceFile = () => path.join(temporaryDirectory(), "trace.json");

/** Returns the rows of a file, and the counter of items in flight. */
function look(file: string) {
  const events = readTrace(file);
  const rows = rowsOf(events);
  const counts = events.filter(({ ph }) => ph === "C").flatMap(({ args }) => Object.values(args));
  const of = (group: string) => rows.filter(({ name }) => name.startsWith(`${group}: num`));
  return { rows, counts, items: of("Does"), children: of("Does: children") };
}

const names = (rows: readonly TraceRow[]) => rows.map(({ name }) => name);
const slices = (rows: readonly TraceRow[]) => rows.flatMap((row) => row.slices);

describe.each([
  ["one child per item", { startMethod: "fork", concurrency: 2 }],
  ["a pool", { startMethod: "fork", pool: 2 }],
  ["a spawned pool", { startMethod: "spawn", pool: 2 }],
] as const)("a trace of %s", (_, options) => {
  it("has a row per num, with its items and, below, its children", async () => {
    const trace = traceFile();
    const parallel = opened(new Does(), options);
    await parallel.mapProcesses(
      Array.from({ length: 6 }, () => ({ ms: 20 })),
      { trace },
    );
    const { items, children, counts } = look(trace);
    expect(names(items)).toEqual(["Does: num 0", "Does: num 1"]);
    expect(names(children)).toEqual(["Does: children: num 0", "Does: children: num 1"]);
    expect(
      slices(items)
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(Array.from({ length: 6 }, (_item, i) => `item ${i}`));
    expect(slices(children).length).toBe("pool" in options ? 2 : 6);
    const ends = new Set(slices(children).map(({ args }) => args["end"]));
    expect(ends).toEqual(new Set(["pool" in options ? "outlives the call" : "exit code 0"]));
    // Each item is within the life of its child, as far as the clocks of two processes agree.
    for (const { ts, dur, args } of slices(items)) {
      const child = slices(children).find(
        (each) =>
          each.args["pid"] === args["pid"] && each.args["generation"] === args["generation"],
      )!;
      expect(ts).toBeGreaterThanOrEqual(child.ts - 1000);
      expect(ts + dur!).toBeLessThanOrEqual(child.ts + child.dur! + 1000);
      expect(dur).toBeGreaterThan(15_000);
    }
    // The running items, and in a pool those that were sent ahead.
    const most = Math.max(...(counts as number[]));
    expect(most).toBeGreaterThanOrEqual(2);
    expect(most).toBeLessThanOrEqual("pool" in options ? 4 : 2);
    expect(counts.at(-1)).toBe(0);
  });
});

describe.each([{ concurrency: 2 }, { pool: 2 }])("a trace of failures, %j", (options) => {
  it("shows the outcome of every attempt", async () => {
    const trace = traceFile();
    const parallel = opened(new Does(), {
      ...options,
      startMethod: "fork",
      timeout: 2500,
      retries: 1,
      retryDelay: { min: 1, max: 1 },
      stopOnError: false,
      trace,
    });
    await parallel.mapSettled([
      { throws: "failed", times: 1 },
      { dies: true, times: 1 },
      { ms: FOR_EVER },
    ]);
    const { items, children } = look(trace);
    const told = slices(items).map(
      ({ name, args }) => `${name} ${args["attempt"]} ${args["outcome"]}`,
    );
    expect(told.toSorted()).toEqual([
      "item 0 2 ok",
      "item 0 error 1 error",
      "item 1 2 ok",
      "item 1 dead 1 dead",
      "item 2 timeout 1 timeout",
      "item 2 timeout 2 timeout",
    ]);
    const messages = slices(items).map(({ args }) => String(args["message"] ?? ""));
    expect(messages.some((each) => each.includes("failed"))).toBe(true);
    const ends = slices(children).map(({ args }) => String(args["end"]));
    expect(ends.filter((each) => each.startsWith("SIG")).toSorted()).toEqual([
      "SIGKILL",
      "SIGTERM",
      "SIGTERM",
    ]);
  });
});

it("a trace of fibers has a row for each concurrent one", async () => {
  const trace = traceFile();
  const parallel = opened(new Does(), { startMethod: "fork", pool: 1, fibers: 3 });
  await parallel.mapProcesses(
    Array.from({ length: 9 }, () => ({ ms: 20 })),
    { trace },
  );
  const { items, counts } = look(trace);
  expect(names(items)).toEqual(["Does: num 0", "Does: num 0 (2)", "Does: num 0 (3)"]);
  expect(slices(items).length).toBe(9);
  expect(Math.max(...(counts as number[]))).toBeGreaterThanOrEqual(3);
});

it("traces of calls that share a pool contain only their own items", async () => {
  const [first, second] = [traceFile(), traceFile()];
  const parallel = opened(new EchoJson(), { startMethod: "fork", pool: 1 });
  await parallel.mapProcesses(Array(500).fill(1), { trace: first });
  await parallel.mapProcesses([2], { trace: second });
  expect(slices(rowsOf(readTrace(first))).length).toBe(501);
  const own = slices(rowsOf(readTrace(second)));
  expect(own.map(({ name, args }) => args["end"] ?? name)).toEqual(["item 0", "outlives the call"]);
  // Its child started before the trace.
  expect(own[1]!.ts).toBe(0);
});

it("a trace of a call that fails, is aborted or has no items is complete", async () => {
  const trace = traceFile();
  const parallel = opened(new Does(), { startMethod: "fork", pool: 1, trace });
  await rejection(parallel.mapProcesses([{ throws: "failed" }]));
  expect(slices(look(trace).items).map(({ name }) => name)).toEqual(["item 0 error"]);
  const begun = path.join(temporaryDirectory(), "begun");
  const controller = new AbortController();
  const aborted = rejection(
    parallel.mapProcesses([{ makes: begun, ms: FOR_EVER }], { signal: controller.signal }),
  );
  await vi.waitUntil(() => existsSync(begun), SOON);
  controller.abort();
  await aborted;
  expect(slices(look(trace).items).map(({ name }) => name)).toEqual(["item 0 dead"]);
  await parallel.mapProcesses([]);
  expect(look(trace).rows).toEqual([]);
});

it("a trace of items in this process has one row", async () => {
  const trace = traceFile();
  await opened(new Does(), { pool: 0 }).mapProcesses([{ ms: 5 }, { ms: 5 }], { trace });
  expect(names(look(trace).rows)).toEqual(["Does: num 0"]);
});

it("a file that cannot be written is an error before any child starts", async () => {
  const parallel = opened(new Does(), { startMethod: "fork", pool: 1 });
  const call = parallel.mapProcesses([{}], {
    trace: path.join(temporaryDirectory(), "none", "trace"),
  });
  expect(await rejection(call)).toMatchObject({ code: "ERR_PARALLEL_LAUNCH" });
  expect(parallel.stats().pids).toEqual([]);
});
