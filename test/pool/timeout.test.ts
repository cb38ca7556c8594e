import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { ItemTimeoutError } from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { Ignores, Leaves, Loops, Stays } from "../fixtures/stays.mjs";
import { children, isAlive } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { fixture, runScript } from "../support/run-script.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

describe.each(["fork", "spawn"] as const)("timeout by %s", (startMethod) => {
  it("fails the item and kills its child", async () => {
    const parallel = opened(new Stays(), { startMethod, timeout: 2000 });
    const began = performance.now();
    const error = await rejection(parallel.mapProcesses([{}]));
    expect(error).toBeInstanceOf(ItemTimeoutError);
    expect(error).toMatchObject({
      code: "ERR_PARALLEL_TIMEOUT",
      timeout: 2000,
      index: 0,
      num: 0,
      attempt: 1,
    });
    expect(error.message).toContain("Item 0 timed out after 2000 ms");
    expect(error.duration).toBeGreaterThanOrEqual(1990);
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(children(parallel.stats().pids)).toEqual([]);
  });

  it("leaves the other items alone", async () => {
    const parallel = opened(new Stays(), { startMethod, timeout: 2500, concurrency: 2 });
    const settled = await parallel.mapSettled([{ ms: 1 }, {}, { ms: 1 }, { ms: 1 }]);
    expect(settled.map((each) => each.status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "fulfilled",
    ]);
  });

  it("ends a loop that never yields", async () => {
    const parallel = opened(new Loops(), { startMethod, timeout: 2500, stopOnError: false });
    const error = await rejection(parallel.mapProcesses([{}, { ms: 1 }]));
    expect(error.errors).toMatchObject([{ code: "ERR_PARALLEL_TIMEOUT", index: 0 }]);
  });

  it("also kills the child's own processes", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const parallel = opened(new Leaves(), { startMethod, timeout: 2500 });
    expect(await rejection(parallel.mapProcesses([{ begun }]))).toMatchObject({
      code: "ERR_PARALLEL_TIMEOUT",
    });
    await vi.waitFor(() => expect(isAlive(Number(readFileSync(begun, "utf8")))).toBe(false), SOON);
  });

  it("sends SIGKILL after forceKillAfterDelay to a child that ignores SIGTERM", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const parallel = opened(new Ignores(), {
      startMethod,
      timeout: 2500,
      forceKillAfterDelay: 300,
    });
    const error = await rejection(parallel.mapProcesses([{ begun }]));
    expect(error).toMatchObject({ code: "ERR_PARALLEL_TIMEOUT" });
    expect(error.duration).toBeGreaterThanOrEqual(2790);
    expect(isAlive(Number(readFileSync(begun, "utf8")))).toBe(false);
  });

  it("sends killSignal first", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const parallel = opened(new Ignores(), {
      startMethod,
      timeout: 2500,
      killSignal: "SIGKILL",
      forceKillAfterDelay: 60_000,
    });
    expect(await rejection(parallel.mapProcesses([{ begun }]))).toMatchObject({
      code: "ERR_PARALLEL_TIMEOUT",
    });
  });
});

it("an item whose time is over before its fork server has forked a child has timed out", async () => {
  const parallel = opened(new Stays(), { startMethod: "fork", timeout: 300 });
  await parallel.ready();
  const [server] = parallel.stats().pids;
  process.kill(server!, "SIGSTOP");
  const call = rejection(parallel.mapProcesses([{ ms: 1 }]));
  await sleep(1500);
  process.kill(server!, "SIGCONT");
  expect(await call).toBeInstanceOf(ItemTimeoutError);
});

describe.each(["fork", "spawn"] as const)("a child by %s that ends on its own", (startMethod) => {
  it("ends its own processes too", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const parallel = opened(new Leaves(), { startMethod });
    expect(await parallel.mapProcesses([{ begun, ms: 1 }])).toEqual(["stayed"]);
    await vi.waitFor(() => expect(isAlive(Number(readFileSync(begun, "utf8")))).toBe(false), SOON);
  });
});

describe("a program that blocks its event loop", { concurrent: true }, () => {
  it.each([
    ["mapProcesses", "fork", ""],
    ["mapProcesses", "spawn", ""],
    ["mapProcesses", "spawn", "pool"],
    ["mapThreads", "fork", ""],
  ])("finds children that became ready in the meantime (%s %s %s)", async (...args) => {
    const ran = await runScript(fixture("programs/busy.mjs"), { args });
    expect(ran).toEqual({ code: 0, signal: null, stdout: "done\n", stderr: "" });
  });
});
