import { DeadChildError } from "forkmap";
import { describe, expect, it } from "vitest";
import { Ends, EndsTwice } from "../fixtures/ends.mjs";
import { children } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";

describe.each(["fork", "spawn"] as const)("a child by %s that ends", (startMethod) => {
  const deathBy = (way: string, options = {}): Promise<any> =>
    rejection(opened(new Ends(), { startMethod, ...options }).mapProcesses([way]));

  it.each([
    ["exit0", 0],
    ["exit3", 3],
    ["exitLater", 4],
  ])(
    "with process.exit (%s) is reported with its code, and is never a result",
    async (way, exitCode) => {
      const error = await deathBy(way);
      expect(error).toBeInstanceOf(DeadChildError);
      expect(error).toMatchObject({
        code: "ERR_PARALLEL_CHILD_DIED",
        exitCode,
        signal: undefined,
        index: 0,
        attempt: 1,
      });
      expect(error.message).toContain(
        `Item 0 called process.exit(${exitCode}) before it had a result`,
      );
      expect(error.pid).toBeGreaterThan(1);
    },
  );

  it.each([
    ["SIGKILL", "SIGKILL"],
    ["SIGSEGV", "SIGSEGV"],
    ["SIGTERM", "SIGTERM"],
    ["abort", "SIGABRT"],
  ])("with a signal (%s) is reported with it", async (way, signal) => {
    const error = await deathBy(way);
    expect(error).toBeInstanceOf(DeadChildError);
    expect(error).toMatchObject({ exitCode: undefined, signal, probablyOutOfMemory: false });
    expect(error.message).toContain(`Item 0 lost its child, killed by ${signal}`);
  });

  it("through lack of memory is reported with its signal", async () => {
    const error = await deathBy("memory", { execArgv: ["--max-old-space-size=200"] });
    expect(error).toBeInstanceOf(DeadChildError);
    expect(error.signal).toBeDefined();
    // Only the kernel's accounting of a forked child shows that memory was the cause.
    if (startMethod === "spawn") return;
    expect(error.probablyOutOfMemory).toBe(true);
    expect(error.message).toContain("probably out of memory");
  });

  it("with a promise that can never settle is reported as such", async () => {
    const error = await deathBy("never");
    expect(error).toBeInstanceOf(DeadChildError);
    expect(error.message).toContain("Item 0 never settled");
  });

  it("with an exit code it has set, and no result, is reported with that code", async () => {
    expect(await deathBy("exitCode")).toMatchObject({
      code: "ERR_PARALLEL_CHILD_DIED",
      exitCode: 5,
    });
  });

  it("with an uncaught error has that as its cause", async () => {
    const error = await deathBy("late");
    expect(error).toBeInstanceOf(DeadChildError);
    expect(error.message).toContain("ended by an uncaught error: Error: too late");
    expect(error.cause).toMatchObject({ message: "too late", code: "ELATE" });
    expect(error.exitCode).toBe(1);
  });

  it.each(["handlerThrows", "monitorThrows", "captureThrows"])(
    "with an error thrown by a handler of uncaught errors (%s) has that error as its cause",
    async (way) => {
      const error = await deathBy(way);
      expect(error).toBeInstanceOf(DeadChildError);
      expect(error).toMatchObject({ exitCode: 7, cause: { message: "thrown by the handler" } });
    },
  );

  it("with an unhandled rejection has that as its cause", async () => {
    expect((await deathBy("unhandled")).cause).toMatchObject({ message: "nobody cares" });
  });

  it("with an uncaught null has null as its cause", async () => {
    const error = await deathBy("lateNull");
    expect(error).toBeInstanceOf(DeadChildError);
    expect(error.cause).toBe(null);
  });

  it("fails only its own item", async () => {
    const ways = ["ok", "SIGKILL", "ok", "exit3", "never", "ok", "abort", "ok"];
    const parallel = opened(new Ends(), { startMethod, concurrency: 2 });
    const settled = await parallel.mapSettled(ways);
    expect(settled.map((each) => each.status === "fulfilled")).toEqual(
      ways.map((way) => way === "ok"),
    );
    expect(await parallel.mapProcesses(["ok"])).toEqual(["ok"]);
    expect(parallel.stats().items).toEqual({ succeeded: 5, failed: 4 });
    expect(children(parallel.stats().pids)).toEqual([]);
  });

  it("after its result, in any way, keeps its result", async () => {
    expect(await opened(new EndsTwice(), { startMethod }).mapProcesses(["a", "b"])).toEqual([
      "a",
      "b",
    ]);
  });
});

describe("a fork server that is killed", () => {
  it("fails the items in flight and is started again", async () => {
    const parallel = opened(new Ends(), { startMethod: "fork" });
    await parallel.ready();
    const [first] = parallel.stats().pids;
    const call = rejection(
      parallel.mapProcesses(["late", "ok", "SIGKILL"], {
        onStart: (_, index) => index === 2 && process.kill(first, "SIGKILL"),
      }),
    );
    expect(await call).toMatchObject({ index: 0, code: "ERR_PARALLEL_CHILD_DIED" });
    expect(await parallel.mapProcesses(["ok"])).toEqual(["ok"]);
    expect(parallel.stats().pids).not.toContain(first);
  });
});
