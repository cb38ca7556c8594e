import { readFileSync } from "node:fs";
import { WorkerModuleError } from "forkmap";
import { describe, expect, it } from "vitest";
import { BadHooks } from "../fixtures/bad-hooks.mjs";
import { Carries, CarriesFunction } from "../fixtures/carries.mjs";
import { Outer } from "../fixtures/nested.mjs";
import { Notes } from "../fixtures/notes.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

describe.each(["fork", "spawn"] as const)("a worker in children by %s", (startMethod) => {
  it("preloads before any child is forked, or in each spawned child", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const parallel = opened(new Notes(file), { startMethod });
    await parallel.mapProcesses(["a", "b"]);
    await parallel.mapProcesses(["c"]);
    const notes = noted(file);
    const preloads = notes.filter((each) => each.hook === "preload");
    const processed = notes.filter((each) => each.hook === "process");
    if (startMethod === "fork") {
      expect(preloads.map((each) => each.pid)).toEqual(parallel.stats().pids);
      expect(notes[0].hook).toBe("preload");
      for (const each of processed) expect(each.preloaded).toBe(preloads[0].pid);
    } else {
      expect(preloads).toHaveLength(3);
      for (const each of processed) expect(each.preloaded).toBe(each.pid);
    }
  });

  it("runs setup before its item and teardown after it, awaited, once in each child", async () => {
    const file = `${temporaryDirectory()}/notes`;
    await opened(new Notes(file), { startMethod }).mapProcesses(["a", "b"]);
    const notes = noted(file);
    const pids = notes.filter((each) => each.hook === "process").map((each) => each.pid);
    for (const pid of pids) {
      expect(hooksOf(notes, pid).filter((hook) => hook !== "preload")).toEqual([
        "setup",
        "process",
        "teardown",
      ]);
    }
  });

  it("does not run teardown in a child that fails or dies", async () => {
    const file = `${temporaryDirectory()}/notes`;
    await opened(new Notes(file), { startMethod }).mapSettled(["throws", "dies"]);
    expect(noted(file).map((each) => each.hook)).not.toContain("teardown");
  });

  it("passes its instance to setup", async () => {
    const file = `${temporaryDirectory()}/notes`;
    await opened(new Notes(file), { startMethod, concurrency: 1 }).mapProcesses(["a", "b"]);
    const setups = noted(file).filter((each) => each.hook === "setup");
    const frame = { kind: startMethod, num: 0, name: "Notes" };
    expect(setups).toMatchObject([
      { ...frame, generation: 1, parent: null, context: [frame] },
      { ...frame, generation: 2, parent: null, context: [frame] },
    ]);
  });

  it.each(["setup", "teardown"])("fails its item with the error that %s throws", async (bad) => {
    const error = await rejection(opened(new BadHooks(bad), { startMethod }).mapProcesses(["a"]));
    expect(error).toMatchObject({
      code: "ERR_PARALLEL_ITEM",
      index: 0,
      cause: { message: `from ${bad}` },
    });
    expect(error.cause).toBeInstanceOf(RangeError);
  });

  it("causes a WorkerModuleError when preload throws, as an error of the call and not of an item", async () => {
    const parallel = opened(new BadHooks("preload"), { startMethod });
    for (const call of ["mapProcesses", "mapSettled"] as const) {
      const error = await rejection(parallel[call](["a", "b"]));
      expect(error).toBeInstanceOf(WorkerModuleError);
      expect(error.message).toContain("preload() of BadHooks failed: RangeError: from preload");
      expect(error.cause).toBeInstanceOf(RangeError);
    }
  });

  it("keeps its own fields; private fields and functions are created again", async () => {
    const worker = new Carries();
    worker.map.set("key", [1, { two: 3 }]);
    const [found] = await opened(worker, { startMethod }).mapProcesses(["key"]);
    expect(found).toEqual({
      secret: "made anew",
      made: "made anew",
      value: [1, { two: 3 }],
      isMap: true,
    });
  });

  it("with a field that cannot be sent is a WorkerModuleError that names the field", async () => {
    const error = await rejection(
      opened(new CarriesFunction(() => 1), { startMethod }).mapProcesses(["a"]),
    );
    expect(error).toBeInstanceOf(WorkerModuleError);
    expect(error.message).toContain("The field `callback` of CarriesFunction cannot travel");
  });

  it("receives its place, and so does the worker of a Parallel that it uses", async () => {
    const [found] = await opened(new Outer(), { startMethod }).mapProcesses([0]);
    const outer = { kind: startMethod, num: 0, name: "Outer" };
    expect(found.task).toEqual({
      ...outer,
      parent: null,
      context: [outer],
      index: 0,
      attempt: 1,
      generation: 1,
    });
    for (const num of [0, 1]) {
      const inner = { kind: startMethod, num, name: "Inner" };
      expect(found.inner[num]).toEqual({ ...inner, parent: outer, context: [outer, inner] });
    }
  });
});

function noted(file: string): any[] {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}

function hooksOf(notes: any[], pid: number): string[] {
  return notes.filter((each) => each.pid === pid).map((each) => each.hook);
}
