import { existsSync } from "node:fs";
import { ClosedError } from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { Echo } from "../fixtures/echo.mjs";
import { Pid } from "../fixtures/pid.mjs";
import { Stays } from "../fixtures/stays.mjs";
import { children, descendants, scratchDirectories } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const HANGS = new URL("../fixtures/hangs-while-loading.mjs", import.meta.url);

/** A handler of SIGTERM and the end of an `await using` block, for one, close at the same time. */
describe.each([
  ["a child for each item", {}, "mapProcesses", "run"],
  ["a pool", { pool: 2 }, "mapProcesses", "run"],
  ["fibers", { pool: 2, fibers: 2 }, "mapProcesses", "run"],
  ["no children", { pool: 0 }, "mapProcesses", "run"],
  ["threads", {}, "mapThreads", "runThread"],
] as const)("a Parallel with %s", (_, options, map, run) => {
  it.each(["run", "map", "run and map"])(
    "may be closed by several at once during %s",
    async (what) => {
      const parallel = opened(new Stays(), options);
      const calls: Promise<string | string[]>[] = [];
      if (what.includes("run")) calls.push(parallel[run]({ ms: 300 }));
      if (what.includes("map")) calls.push(parallel[map]([{ ms: 200 }, { ms: 200 }]));
      const both = [parallel.close(), parallel.close()];
      await Promise.race(both);
      await Promise.all([...both, parallel.close(), parallel[Symbol.asyncDispose]()]);
      expect(parallel.stats()).toMatchObject({ calls: 0, pids: [] });
      expect(new Set((await Promise.all(calls)).flat())).toEqual(new Set(["stayed"]));
      expect(descendants()).toEqual([]);
    },
  );

  it("may be closed, destroyed and closed at once", async () => {
    const parallel = opened(new Stays(), options);
    const call = rejection(parallel[run]({ ms: 600_000 }));
    await Promise.all([parallel.close(), parallel.destroy(), parallel.close()]);
    expect(await call).toBeInstanceOf(ClosedError);
    expect(descendants()).toEqual([]);
  });
});

describe.each(["fork", "spawn"] as const)("a Parallel by %s", (startMethod) => {
  it("finishes its calls when it is closed, and still starts their items", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const parallel = opened(new Stays(), { startMethod, concurrency: 1 });
    const call = parallel.mapProcesses([{ begun, ms: 300 }, { ms: 1 }]);
    await isThere(begun);
    await parallel.close();
    expect(parallel.stats()).toMatchObject({ calls: 0, pids: [] });
    expect(await call).toEqual(["stayed", "stayed"]);
    expect(descendants()).toEqual([]);
  });

  it("kills its children when it is destroyed, and its calls reject with a ClosedError", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const parallel = opened(new Stays(), { startMethod });
    const calls = [
      parallel.mapProcesses([{ begun }]),
      parallel.eachProcess([{}]),
      parallel.mapSettled([{}]),
    ].map(rejection);
    await isThere(begun);
    await parallel.destroy();
    for (const error of await Promise.all(calls)) {
      expect(error).toBeInstanceOf(ClosedError);
      expect(error.code).toBe("ERR_PARALLEL_CLOSED");
    }
    expect(descendants()).toEqual([]);
    expect(scratchDirectories()).toEqual([]);
  });

  it("rejects its calls with the reason that destroy() was given", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const parallel = opened(new Stays(), { startMethod });
    const call = rejection(parallel.mapProcesses([{ begun }]));
    await isThere(begun);
    const reason = new Error("power cut");
    await parallel.destroy(reason);
    expect(await call).toBe(reason);
  });

  it("accepts no more calls after that", async () => {
    for (const end of ["close", "destroy"] as const) {
      const parallel = opened(new Pid(), { startMethod });
      await parallel[end]();
      for (const call of [
        parallel.mapProcesses(["a"]),
        parallel.eachProcess([]),
        parallel.mapSettled(["a"]),
        parallel.ready(),
      ]) {
        expect(await rejection(call)).toBeInstanceOf(ClosedError);
      }
    }
    expect(descendants()).toEqual([]);
  });

  it("can be closed and destroyed repeatedly", async () => {
    const parallel = opened(new Pid(), { startMethod });
    await parallel.mapProcesses(["a"]);
    await Promise.all([parallel.close(), parallel.close(), parallel.destroy()]);
    await parallel.destroy();
    await parallel.close();
    expect(descendants()).toEqual([]);
  });

  it("stops draining when it is destroyed while closing", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const parallel = opened(new Stays(), { startMethod });
    const call = rejection(parallel.mapProcesses([{ begun }]));
    await isThere(begun);
    const closed = parallel.close();
    await parallel.destroy("hurry");
    await closed;
    expect(await call).toBe("hurry");
  });

  it("can be destroyed while the module of its worker hangs", async () => {
    const parallel = opened(new Pid(), { startMethod, module: HANGS });
    const call = rejection(parallel.mapProcesses(["a"]));
    await vi.waitUntil(() => children().length > 0, SOON);
    await parallel.destroy("hangs");
    expect(await call).toBe("hangs");
    expect(descendants()).toEqual([]);
  });

  it("is closed at the end of its block under `await using`", async () => {
    {
      await using parallel = opened(new Echo(), { startMethod });
      expect(await parallel.mapProcesses(["a"])).toEqual(["a"]);
      expect(parallel.stats().pids).toHaveLength(1);
    }
    expect(descendants()).toEqual([]);
  });

  it("has its start method, and under fork its fork server, once ready() resolves", async () => {
    const parallel = opened(new Pid(), { startMethod });
    expect(parallel.stats()).toMatchObject({ startMethod: undefined, pids: [] });
    await Promise.all([parallel.ready(), parallel.ready()]);
    expect(parallel.stats().startMethod).toBe(startMethod);
    const { pids } = parallel.stats();
    if (startMethod === "fork") expect(pids).toHaveLength(1);
    await parallel.mapProcesses(["a"]);
    await parallel.mapProcesses(["b"]);
    if (startMethod === "fork") expect(parallel.stats().pids).toEqual(pids);
  });

  it("leaves no listener on the process, nor adds one for signals during a call", async () => {
    const before = listeners();
    const beforeSignals = signalListeners();
    const parallel = opened(new Pid(), { startMethod });
    const call = parallel.mapProcesses(["a", "b"]);
    expect(signalListeners()).toEqual(beforeSignals);
    await call;
    expect(listeners()).toEqual(before);
    await parallel.close();
    expect(listeners()).toEqual(before);
  });
});

function isThere(file: string): Promise<boolean> {
  return vi.waitUntil(() => existsSync(file), SOON);
}

function listeners() {
  return process.eventNames().map((name) => [String(name), process.listenerCount(name)] as const);
}

function signalListeners() {
  return listeners().filter(([name]) => name.startsWith("SIG"));
}
