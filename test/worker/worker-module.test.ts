import { writeFileSync } from "node:fs";
import { WorkerModuleError } from "forkmap";
import { describe, expect, it } from "vitest";
import { Pid } from "../fixtures/pid.mjs";
import { children } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

const fixture = (name: string) => new URL(`../fixtures/${name}.mjs`, import.meta.url);

describe.each(["fork", "spawn"] as const)("a worker's module by %s", (startMethod) => {
  it.each([
    ["does not exist", "missing", /could not be loaded: .*missing\.mjs/],
    [
      "throws while it is loaded",
      "throws-while-loading",
      /could not be loaded: RangeError: from the module/,
    ],
    [
      "ends its process while it is loaded",
      "exits-while-loading",
      /ended its process while it was loaded \(exit code 6\)/,
    ],
    ["does not export the class", "echo", /The class Pid is not exported by .*echo\.mjs/],
  ])("that %s is reported as one clear error", async (_, name, message) => {
    const parallel = opened(new Pid(), { startMethod, module: fixture(name) });
    const error = await rejection(parallel.mapProcesses(["a", "b", "c"]));
    expect(error).toBeInstanceOf(WorkerModuleError);
    expect(error).toMatchObject({ code: "ERR_PARALLEL_WORKER_MODULE", module: fixture(name).href });
    expect(error.message).toMatch(message);
    expect(children(parallel.stats().pids)).toEqual([]);
  });

  it("that has a syntax error is reported as one clear error", async () => {
    const module = `${temporaryDirectory()}/no-syntax.mjs`;
    writeFileSync(module, "export class Pid extends {");
    const error = await rejection(opened(new Pid(), { startMethod, module }).mapProcesses(["a"]));
    expect(error).toBeInstanceOf(WorkerModuleError);
    expect(error.message).toContain("could not be loaded: SyntaxError: ");
  });

  it("that hangs while it loads is an error after startupTimeout", async () => {
    const parallel = opened(new Pid(), {
      startMethod,
      module: fixture("hangs-while-loading"),
      startupTimeout: 1000,
    });
    const error = await rejection(parallel.mapProcesses(["a"]));
    expect(error).toBeInstanceOf(WorkerModuleError);
    expect(error.message).toContain("was not loaded after 1000 ms");
  });

  it("may be given as a URL, its text or a path", async () => {
    const url = fixture("pid");
    for (const module of [url, url.href, url.pathname]) {
      expect(await opened(new Pid(), { startMethod, module }).mapProcesses(["a"])).toHaveLength(1);
    }
  });

  it("is loaded again by the next call", async () => {
    const parallel = opened(new Pid(), { startMethod, module: fixture("missing") });
    const first = await rejection(parallel.mapProcesses(["a"]));
    const second = await rejection(parallel.mapProcesses(["a"]));
    expect(second.message).toBe(first.message);
  });
});
