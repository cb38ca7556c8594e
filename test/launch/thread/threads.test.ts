import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import {
  ClosedError,
  DeadChildError,
  ItemError,
  ItemTimeoutError,
  LaunchError,
  ResultTypeError,
  WorkerModuleError,
} from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { makesAfter } from "../../support/after-item.js";
import { Does } from "../../fixtures/does.mjs";
import { Bytes, Echo, EchoJson, LateEcho, Long } from "../../fixtures/echo.mjs";
import { Ends, EndsTwice } from "../../fixtures/ends.mjs";
import { CarriesFunction } from "../../fixtures/carries.mjs";
import { Plain } from "../../fixtures/fields.mjs";
import { ThrowsHardError } from "../../fixtures/hard-errors.mjs";
import { Outer } from "../../fixtures/nested.mjs";
import { Overlaps } from "../../fixtures/overlaps.mjs";
import { ReturnsNoText } from "../../fixtures/returns.mjs";
import { Heeds, Loops, Stays } from "../../fixtures/stays.mjs";
import { Surroundings } from "../../fixtures/surroundings.mjs";
import { ThreadHooks } from "../../fixtures/thread-hooks.mjs";
import { ThrowsValue } from "../../fixtures/throws.mjs";
import { Whereabouts } from "../../fixtures/whereabouts.mjs";
import { children, scratchDirectories } from "../../support/leftovers.js";
import { opened } from "../../support/opened.js";
import { rejection } from "../../support/rejection.js";
import { fixture, runScript } from "../../support/run-script.js";
import { SOON } from "../../support/soon.js";
import { temporaryDirectory } from "../../support/temporary.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

const times = (count: number, ms = 0) => Array.from({ length: count }, () => ({ ms }));

const NODE = Number(process.versions.node.split(".")[0]);

describe("mapThreads", () => {
  it("returns the results in the order of the items, from threads of this process", async () => {
    const parallel = opened(new Whereabouts(), { concurrency: 2 });
    const results = await parallel.mapThreads([30, 0, 20, 0, 10, 0].map((ms) => ({ ms })));
    expect(new Set(results.map((each) => each.pid))).toEqual(new Set([process.pid]));
    expect(new Set(results.map((each) => each.thread)).size).toBe(2);
    expect(await opened(new LateEcho()).mapThreads(["a", "b", "c"])).toEqual(["a", "b", "c"]);
    expect(children()).toEqual([]);
    expect(scratchDirectories()).toEqual([]);
  });

  it("gives the worker its place", async () => {
    const [first] = await opened(new Whereabouts(), { pool: 2 }).mapThreads([{}]);
    expect(first).toMatchObject({
      kind: "thread",
      num: 0,
      name: "Whereabouts",
      generation: 1,
      parent: null,
      context: [{ kind: "thread", num: 0, name: "Whereabouts" }],
    });
  });

  it("gives a free thread the next item immediately", async () => {
    const parallel = opened(new Whereabouts(), { concurrency: 2 });
    await parallel.mapThreads(times(2, 50));
    const until = path.join(temporaryDirectory(), "go");
    let left = 20;
    const results = await parallel.mapThreads([{ until }, ...times(20, 2)], {
      onFinish: () => {
        if ((left -= 1) === 0) writeFileSync(until, "");
      },
    });
    const busy = results[0]!.thread;
    expect(results.filter((each) => each.thread === busy).length).toBe(1);
  });

  it("keeps its threads for the next call, and replaces them after maxItemsPerChild", async () => {
    const parallel = opened(new Whereabouts(), { pool: 1, maxItemsPerChild: 2 });
    const results = [
      ...(await parallel.mapThreads(times(3))),
      ...(await parallel.mapThreads(times(2))),
    ];
    expect(results.map(({ generation, num, served }) => [num, generation, served])).toEqual([
      [0, 1, 1],
      [0, 1, 2],
      [0, 2, 1],
      [0, 2, 2],
      [0, 3, 1],
    ]);
  });

  it("can use a thread per item", async () => {
    const parallel = opened(new Whereabouts(), { concurrency: 2, maxItemsPerChild: 1 });
    const results = await parallel.mapThreads(times(5));
    expect(new Set(results.map((each) => each.thread)).size).toBe(5);
    expect(new Set(results.map((each) => `${each.num}-${each.generation}`)).size).toBe(5);
    expect(new Set(results.map((each) => each.num))).toEqual(new Set([0, 1]));
  });

  it.each([
    [{ concurrency: 2 }, {}, 2],
    [{ pool: 2, concurrency: 5 }, {}, 2],
    [{ pool: 3 }, { concurrency: 1 }, 1],
    [{}, { concurrency: 4 }, 4],
  ])("with %o and a call with %o uses %i threads", async (own, ofCall, count) => {
    const parallel = opened(new Whereabouts(), own);
    const results = await parallel.mapThreads(times(count + 1, 100), ofCall);
    expect(new Set(results.map((each) => each.thread)).size).toBe(count);
  });

  it("starts no more threads than there are items, and none for no items", async () => {
    const parallel = opened(new Whereabouts(), { pool: 4 });
    expect(await parallel.mapThreads([])).toEqual([]);
    const results = await parallel.mapThreads(times(2, 30));
    expect(results.map((each) => each.num)).toEqual([0, 1]);
  });

  it("runs items concurrently in a thread with fibers", async () => {
    const parallel = opened(new Overlaps(), { pool: 1, fibers: 20 });
    const results = await parallel.mapThreads(Array<number>(40).fill(100));
    expect(Math.max(...results.map(({ atOnce }) => atOnce))).toBe(20);
  });

  it("sends many small items in batches", async () => {
    const items = Array.from({ length: 20_000 }, (_, i) => i);
    expect(await opened(new EchoJson(), { pool: 2 }).mapThreads(items)).toEqual(items);
  });

  it("calls hooks, with a pid", async () => {
    const told: unknown[] = [];
    await opened(new Echo(), { pool: 1 }).mapThreads(["a", "b"], {
      onStart: (item) => told.push(`start ${item}`),
      onFinish: (item, index, result, { num, pid }) =>
        told.push([item, index, result, num, pid === process.pid]),
      finishInOrder: true,
    });
    expect(told).toContainEqual("start b");
    expect(told).toContainEqual(["a", 0, "a", 0, true]);
  });
});

describe("values sent to threads and back", () => {
  const texts = ["", "\0", "ä€😀", "\ud800", "x".repeat(300_000), "ß€".repeat(600_000), `"\\\n`];

  it("are the same text", async () => {
    expect(await opened(new Echo(), { pool: 2 }).mapThreads(texts)).toEqual(texts);
  });

  it("are the same JSON", async () => {
    const values = [null, 1.5, [true], { a: { b: texts } }, new Date(0), { gone: undefined, c: 1 }];
    const results = await opened(new EchoJson(), { pool: 1 }).mapThreads(values);
    expect(results).toEqual(JSON.parse(JSON.stringify(values)));
    expect(Object.keys(results[5] as object)).toEqual(["c"]);
  });

  it("are the same bytes, in memory of their own", async () => {
    const results = await opened(new Bytes(), { pool: 1 }).mapThreads([0, 10, 5_000_000]);
    expect(results.map((each) => each.length)).toEqual([0, 10, 5_000_000]);
    expect(results[2]!.subarray(0, 3)).toEqual(new Uint8Array([0, 1, 2]));
    expect(results.every((each) => each.constructor === Uint8Array)).toBe(true);
    expect(results[2]!.buffer.byteLength).toBe(5_000_000);
  });

  it("may be large, with fibers and with one thread per item", async () => {
    const sizes = [3_000_000, 100_000, 32 * 1024 * 1024, 70_000];
    const lengths = (results: string[]) => results.map((each) => each.length);
    expect(lengths(await opened(new Long(), { pool: 2, fibers: 3 }).mapThreads(sizes))).toEqual(
      sizes,
    );
    const single = opened(new Echo(), { maxItemsPerChild: 1 });
    expect(lengths(await single.mapThreads(["y".repeat(2_000_000)]))).toEqual([2_000_000]);
  });

  it("are sent again for another attempt", async () => {
    const parallel = opened(new Whereabouts(), { pool: 1, retries: 1, retryDelay: { min: 0 } });
    const item = { way: "loop", text: "x".repeat(20_000) };
    const [result] = await parallel.mapThreads([item], { timeout: 4000 });
    expect(result).toMatchObject({ attempt: 2, generation: 2 });
  });

  it("include the fields of the worker", async () => {
    const parallel = opened(new Plain().set("from here"), { pool: 1 });
    expect(await parallel.mapThreads(["a"])).toEqual([["a", "private", "from here"]]);
    const error = await rejection(opened(new CarriesFunction(() => 1)).mapThreads(["a"]));
    expect(error).toBeInstanceOf(WorkerModuleError);
  });

  it("include env and argv", async () => {
    const parallel = opened(new Surroundings(), { pool: 1, env: { ...process.env, MINE: "1" } });
    const [found] = await parallel.mapThreads(["MINE"]);
    expect(found).toMatchObject({ variable: "1", cwd: process.cwd(), argv: process.argv });
  });
});

describe("an item that fails in a thread", () => {
  it("with an error that is hard to serialise is reported", async () => {
    const names = ["own", "cycle", "getters", "toJson", "cause", "long", "function"];
    const parallel = opened(new ThrowsHardError(), { pool: 1, stopOnError: false });
    const { errors } = await rejection<AggregateError>(parallel.mapThreads(names));
    expect(errors).toHaveLength(names.length);
    for (const [index, error] of errors.entries()) {
      expect(error).toBeInstanceOf(ItemError);
      expect(error).toMatchObject({ code: "ERR_PARALLEL_ITEM", index, num: 0, pid: process.pid });
    }
  });

  it("has the thrown value as its cause", async () => {
    const error = await rejection(opened(new ThrowsValue(), { pool: 1 }).mapThreads(["null"]));
    expect(error.cause).toBe(null);
    const hard = await rejection(opened(new ThrowsHardError(), { pool: 1 }).mapThreads(["own"]));
    expect(hard.cause).toMatchObject({ name: "QuotaError", code: "EQUOTA", message: "too much" });
  });

  it("because of its result has a ResultTypeError", async () => {
    const error = await rejection(opened(new ReturnsNoText(), { pool: 1 }).mapThreads(["number"]));
    expect(error).toBeInstanceOf(ResultTypeError);
  });

  it.each([
    ["exit0", { exitCode: 0 }, "called process.exit(0) before it had a result"],
    ["exit3", { exitCode: 3 }, "called process.exit(3) before it had a result"],
    ["exitLater", { exitCode: 4 }, "called process.exit(4)"],
    ["exitCode", { exitCode: 5 }, "never settled"],
    ["never", { exitCode: 0 }, "never settled: its promise is pending"],
    [
      "late",
      { exitCode: 1, cause: { code: "ELATE" } },
      "ended by an uncaught error: Error: too late",
    ],
    ["lateNull", { exitCode: 1, cause: null }, "ended by an uncaught error"],
    ["unhandled", { cause: { message: "nobody cares" } }, "ended by an uncaught error"],
  ])("because the thread ends (%s) is a dead child", async (way, facts, message) => {
    const error = await rejection(opened(new Ends(), { pool: 1 }).mapThreads([way]));
    expect(error).toBeInstanceOf(DeadChildError);
    expect(error).toMatchObject({ ...facts, signal: undefined, pid: process.pid, index: 0 });
    expect(error.message).toContain(`Item 0 ${message}`);
  });

  // From Node 24 on, V8 sometimes ends the whole process instead, as V8 says it may.
  it.skipIf(NODE >= 24)("because the thread runs out of its memory is a dead child", async () => {
    const parallel = opened(new Ends(), { pool: 1, execArgv: ["--max-old-space-size=60"] });
    const error = await rejection(parallel.mapThreads(["memory"]));
    expect(error).toBeInstanceOf(DeadChildError);
    expect(error).toMatchObject({ exitCode: 1, probablyOutOfMemory: true });
    expect(error.message).toContain("probably out of memory");
    expect(await parallel.mapThreads(["ok"])).toEqual(["ok"]);
  });

  it("fails alone, and its thread is replaced", async () => {
    const ways = ["ok", "exit3", "ok", "late", "never", "ok", "unhandled", "ok"];
    const parallel = opened(new Ends(), { pool: 2, stopOnError: false });
    const error = await rejection<AggregateError>(parallel.mapThreads(ways));
    expect(error.errors.map((each) => each.index)).toEqual([1, 3, 4, 6]);
    expect(await parallel.mapThreads(["ok"])).toEqual(["ok"]);
    const { items, threads } = parallel.stats();
    expect(items).toEqual({ succeeded: 5, failed: 4 });
    expect(threads!.slots.map(({ items }) => items).reduce((a, b) => a + b)).toBe(5);
  });

  it("stops the call once the items in flight are done", async () => {
    const pulled: number[] = [];
    const directory = temporaryDirectory();
    const [done, failed] = [path.join(directory, "done"), path.join(directory, "failed")];
    makesAfter(0, done);
    makesAfter(1, failed);
    // It fails once a finished item has made room for another, which runs until then.
    const items = [{}, { until: done, throws: "failed" }, { until: failed }, {}, {}, {}];
    const parallel = opened(new Does(), { pool: 2, batch: 1 });
    const error = await rejection(
      parallel.mapThreads(items, { onStart: (_, index) => pulled.push(index) }),
    );
    expect(error).toMatchObject({ index: 1, cause: { message: "failed" } });
    expect(pulled).toEqual([0, 1, 2]);
  });

  it("after its result keeps its result", async () => {
    const parallel = opened(new EndsTwice(), { maxItemsPerChild: 1 });
    expect(await parallel.mapThreads(["a", "b"])).toEqual(["a", "b"]);
  });

  it("is retried", async () => {
    const parallel = opened(new Whereabouts(), { pool: 1, retries: 2, retryDelay: { min: 0 } });
    const error = await rejection(parallel.mapThreads([{ way: "exit" }]));
    expect(error).toMatchObject({ attempt: 3, exitCode: 3 });
  });
});

describe("a timeout or an abort in threads", () => {
  it("ends an infinite loop, and nothing else", async () => {
    const parallel = opened(new Whereabouts(), { pool: 2, stopOnError: false, timeout: 4000 });
    const error = await rejection<AggregateError>(
      parallel.mapThreads([{ way: "loop" }, { ms: 10 }, { ms: 10 }]),
    );
    expect(error.errors).toHaveLength(1);
    expect(error.errors[0]).toBeInstanceOf(ItemTimeoutError);
    expect(error.errors[0]).toMatchObject({ index: 0, timeout: 4000 });
    expect(await parallel.mapThreads([{}])).toMatchObject([{ kind: "thread" }]);
  });

  it("rejects with the reason once the threads have ended", async () => {
    const directory = temporaryDirectory();
    const controller = new AbortController();
    const parallel = opened(new Loops(), { pool: 2 });
    const items = [0, 1].map((i) => ({ begun: `${directory}/${i}` }));
    const call = rejection(parallel.mapThreads(items, { signal: controller.signal }));
    await begunAt(...items.map((each) => each.begun));
    controller.abort("enough");
    expect(await call).toBe("enough");
    expect(await parallel.mapThreads([{ ms: 1 }])).toEqual(["stayed"]);
  });

  it("reaches a worker that listens to task.signal", async () => {
    const directory = temporaryDirectory();
    const item = { begun: `${directory}/begun`, wound: `${directory}/wound` };
    const controller = new AbortController();
    const call = rejection(opened(new Heeds()).mapThreads([item], { signal: controller.signal }));
    await begunAt(item.begun);
    controller.abort("politely");
    expect(await call).toBe("politely");
    expect(readFileSync(item.wound, "utf8")).toContain("asked to end");
  });
});

describe("the life cycle of threads", () => {
  it("has preload, setup and teardown once in each", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const parallel = opened(new ThreadHooks(file), { pool: 1, maxItemsPerChild: 2 });
    await parallel.mapThreads(["a", "b", "c"]);
    await parallel.close();
    const notes = readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(notes.map(({ hook }) => hook)).toEqual([
      "preload",
      "setup",
      "teardown",
      "preload",
      "setup",
      "teardown",
    ]);
    expect(notes[1]).toMatchObject({ num: 0, generation: 1 });
    expect(notes[4]).toMatchObject({ num: 0, generation: 2 });
    expect(notes[0].thread).not.toBe(notes[3].thread);
  });

  it("runs beside that of processes", async () => {
    const parallel = opened(new Whereabouts(), { pool: 1 });
    const [threads, processes] = await Promise.all([
      parallel.mapThreads(times(2)),
      parallel.mapProcesses(times(2)),
    ]);
    expect(threads[0]!.kind).toBe("thread");
    expect(processes[0]!.kind).not.toBe("thread");
    expect(parallel.stats().items).toEqual({ succeeded: 4, failed: 0 });
  });

  it("ends with close, which waits, and with destroy, which does not", async () => {
    const closed = opened(new Stays(), { pool: 1 });
    const call = closed.mapThreads([{ ms: 100 }]);
    await closed.close();
    expect(await call).toEqual(["stayed"]);
    expect(await rejection(closed.mapThreads([{ ms: 1 }]))).toBeInstanceOf(ClosedError);

    const begun = `${temporaryDirectory()}/begun`;
    const destroyed = opened(new Stays(), { pool: 1 });
    const long = rejection(destroyed.mapThreads([{ begun }]));
    await begunAt(begun);
    await destroyed.destroy("away");
    expect(await long).toBe("away");
    await destroyed.destroy();
  });

  it("may include a Parallel of its own", async () => {
    const [found] = await opened(new Outer(), { pool: 1 }).mapThreads([0]);
    const outer = { kind: "thread", num: 0, name: "Outer" };
    expect(found!.task.context).toEqual([outer]);
    expect(found!.inner.map((each: { context: unknown }) => each.context)).toEqual(
      [0, 1].map((num) => [outer, { kind: "thread", num, name: "Inner" }]),
    );
  });
});

describe("eachThread", () => {
  it("runs all items and reports their failures, or none", async () => {
    expect(await opened(new Echo(), { pool: 2 }).eachThread(["a", "b"])).toBe(0);
    expect(await rejection(opened(new Ends(), { pool: 1 }).eachThread(["exit3"]))).toMatchObject({
      exitCode: 3,
    });
  });
});

describe("threads refuse", () => {
  it.each([
    ["limits", { limits: { openFiles: 10 } }],
    ["cwd", { cwd: "/" }],
    ["output", { output: "collect" as const }],
  ])("the option %s, which is for processes", async (name, options) => {
    const error = await rejection(opened(new Echo(), options).mapThreads(["a"]));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain(`The option \`${name}\` is for processes, not for threads`);
  });

  it("limits of a call", async () => {
    const call = opened(new Echo()).mapThreads(["a"], { limits: { cpuSeconds: 1 } });
    expect(await rejection(call)).toBeInstanceOf(TypeError);
  });

  it("V8's options except the heap size", async () => {
    const parallel = opened(new Echo(), { execArgv: ["--stack-size=500"] });
    const error = await rejection(parallel.mapThreads(["a"]));
    expect(error).toBeInstanceOf(LaunchError);
    expect(error.message).toContain("--stack-size");
  });

  it.each(["throws-while-loading", "exits-while-loading", "broken", "not-there"])(
    "a module that cannot be loaded (%s)",
    async (name) => {
      const module = new URL(`../../fixtures/${name}.mjs`, import.meta.url);
      const error = await rejection(opened(new Echo(), { module }).mapThreads(["a"]));
      expect(error).toBeInstanceOf(WorkerModuleError);
    },
  );

  it("a module that takes too long", async () => {
    const module = new URL("../../fixtures/hangs-while-loading.mjs", import.meta.url);
    const parallel = opened(new Echo(), { module, startupTimeout: 300 });
    const error = await rejection(parallel.mapThreads(["a"]));
    expect(error).toBeInstanceOf(WorkerModuleError);
    expect(error.message).toContain("300 ms");
  });
});

describe("a program with threads", () => {
  it("may be given as text", async () => {
    const code = `
      import { Parallel } from "forkmap";
      import { Echo } from "${new URL("../../fixtures/echo.mjs", import.meta.url).href}";
      console.log(await new Parallel(new Echo(), { pool: 1 }).mapThreads(["a"]));`;
    const ran = await runScript("", { execArgv: ["--input-type=module", "-e", code], cwd: ROOT });
    expect(ran).toMatchObject({ code: 0, stdout: "[ 'a' ]\n" });
  });

  it("gets an error when a thread cannot start", async () => {
    const parallel = opened(new Echo(), { execArgv: ["--import", "./not-there.mjs"] });
    const error = await rejection(parallel.mapThreads(["a"]));
    expect(error).toBeInstanceOf(LaunchError);
    expect(error.message).toContain("not-there.mjs");
  });

  // On Node 20 no TypeScript loader applies to a thread.
  const runsTypeScript = Boolean((process.features as { typescript?: unknown }).typescript);

  it.each<[string, string[]]>([
    ["exported.mjs", []],
    ["unexported.mjs", []],
    ["unexported.mjs", ["--inspect=0"]],
    ["unexported.cjs", []],
    [runsTypeScript ? "typescript.ts" : "exported.mjs", []],
  ])("in one file (%s %j) runs in threads only up to its worker", async (name, execArgv) => {
    const env = { NODE_NO_WARNINGS: "1" };
    const ran = await runScript(fixture(`threads/${name}`), { env, execArgv });
    expect(ran.code, ran.stderr).toBe(0);
    const caught = name === "unexported.mjs" ? ["caught a bad word"] : [];
    expect(ran.stdout.trim().split("\n")).toEqual(["made", "A!,B!,C!", ...caught, "end"]);
  });
});

function begunAt(...files: string[]): Promise<boolean> {
  return vi.waitUntil(() => files.every((each) => existsSync(each)), SOON);
}
