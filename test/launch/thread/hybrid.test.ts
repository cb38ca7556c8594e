import { readFileSync } from "node:fs";
import { DeadChildError, ItemTimeoutError, WorkerModuleError } from "forkmap";
import { describe, expect, it } from "vitest";
import { Echo } from "../../fixtures/echo.mjs";
import { ThreadHooks } from "../../fixtures/thread-hooks.mjs";
import { Whereabouts } from "../../fixtures/whereabouts.mjs";
import { children, descendants } from "../../support/leftovers.js";
import { opened } from "../../support/opened.js";
import { rejection } from "../../support/rejection.js";
import { fixture, runScript } from "../../support/run-script.js";
import { temporaryDirectory } from "../../support/temporary.js";

const times = (count: number, ms = 0) => Array.from({ length: count }, () => ({ ms }));

describe.each(["fork", "spawn"] as const)("threads in processes by %s", (startMethod) => {
  const name = "Whereabouts";
  const frame = (kind: string, num: number) => ({ kind, num, name });

  it("have the context of both: two processes with a thread each", async () => {
    const parallel = opened(new Whereabouts(), { startMethod, pool: 2, threads: 1 });
    const results = await parallel.mapProcesses(times(2, 150));
    expect(
      results.map(({ kind, num, parent, context }) => ({ kind, num, parent, context })),
    ).toEqual(
      [0, 1].map((process) => ({
        kind: "thread",
        num: 0,
        parent: frame(startMethod, process),
        context: [frame(startMethod, process), frame("thread", 0)],
      })),
    );
    expect(new Set(results.map((each) => each.pid)).size).toBe(2);
  });

  it("take items independently, and stay for the next call", async () => {
    const parallel = opened(new Whereabouts(), { startMethod, pool: 2, threads: 2 });
    const lanes = async () => {
      // One at a time, so that no item of a thread is recalled if the thread is delayed.
      const results = await parallel.mapProcesses(times(8, 100), { batch: 1 });
      return results.map(({ parent, num, pid, generation }) => ({
        lane: `${parent.num}-${num}`,
        pid,
        generation,
      }));
    };
    const [first, second] = [await lanes(), await lanes()];
    const all = new Set(["0-0", "0-1", "1-0", "1-1"]);
    expect(new Set(first.map(({ lane }) => lane))).toEqual(all);
    expect(new Set(second.map(({ lane }) => lane))).toEqual(all);
    const pids = new Set(first.map(({ pid }) => pid));
    expect(pids.size).toBe(2);
    expect(new Set(second.map(({ pid }) => pid))).toEqual(pids);
    expect(new Set(second.map(({ generation }) => generation))).toEqual(new Set([1]));
    const items = Array.from({ length: 5000 }, () => ({}));
    expect(await parallel.mapProcesses(items)).toHaveLength(5000);
    await parallel.close();
    expect(descendants()).toEqual([]);
  });

  it("fail only their own item when they end", async () => {
    const parallel = opened(new Whereabouts(), {
      startMethod,
      pool: 1,
      threads: 4,
      timeout: 4000,
      forceKillAfterDelay: 20_000,
    });
    const ways = ["exit", "uncaught", "loop"].map((way) => ({ way }));
    const settled = await parallel.mapSettled([...ways, { ms: 400 }, {}, {}]);
    const [exit, uncaught, loop, ...rest] = settled.map((each) =>
      each.status === "rejected" ? each.reason : each.value,
    );
    expect(exit).toBeInstanceOf(DeadChildError);
    expect(exit).toMatchObject({ exitCode: 3 });
    expect(uncaught).toBeInstanceOf(DeadChildError);
    expect(uncaught.cause).toMatchObject({ code: "ELATE" });
    expect(loop).toBeInstanceOf(ItemTimeoutError);
    expect(rest.map(({ kind }) => kind)).toEqual(["thread", "thread", "thread"]);
    expect(rest[0]).toMatchObject({ num: 3, generation: 1 });
    const after = await parallel.mapProcesses(times(4, 150));
    const seen = after.map(({ num, generation }) => [num, generation]);
    expect(seen.toSorted().slice(-2)).toEqual([
      [2, 2],
      [3, 1],
    ]);
    const pids = new Set([exit, uncaught, loop, ...rest, ...after].map(({ pid }) => pid));
    expect(pids.size).toBe(1);
  });

  it("end with their process, which fails the items they were running", async () => {
    const parallel = opened(new Whereabouts(), { startMethod, pool: 2, threads: 2 });
    await parallel.mapProcesses(times(4, 120));
    const items = [{ way: "kill", ms: 800 }, ...times(3, 3000), ...times(10)];
    const settled = await parallel.mapSettled(items);
    const failed = settled.flatMap((each, i) => (each.status === "rejected" ? [i] : []));
    expect(failed).toHaveLength(2);
    expect(failed[0]).toBe(0);
    expect(failed[1]).toBeLessThan(4);
    for (const i of failed) {
      const { reason } = settled[i] as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(DeadChildError);
      expect(reason).toMatchObject({ signal: "SIGKILL" });
    }
    expect(await parallel.mapProcesses(times(4))).toHaveLength(4);
  });

  it("receive and return long values, also one item at a time", async () => {
    const texts = ["x".repeat(3_000_000), "", "ä€".repeat(100_000)];
    const parallel = opened(new Echo(), { startMethod, pool: 1, threads: 2 });
    expect(await parallel.mapProcesses(texts)).toEqual(texts);
    const single = opened(new Whereabouts(), {
      startMethod,
      pool: 1,
      threads: 1,
      maxItemsPerChild: 1,
    });
    const results = await single.mapProcesses(times(3));
    expect(results.map(({ generation, served }) => [generation, served])).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
    ]);
    expect(new Set(results.map(({ pid }) => pid)).size).toBe(1);
  });

  it("run setup and teardown in each thread, and are ended by an abort", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const parallel = opened(new ThreadHooks(file), { startMethod, pool: 1, threads: 1 });
    await parallel.mapProcesses(["a"]);
    await parallel.close();
    const notes = readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const hooks = notes.filter(({ thread }) => thread > 0).map(({ hook }) => hook);
    expect(hooks).toEqual(["preload", "setup", "teardown"]);

    const aborted = opened(new Whereabouts(), { startMethod, pool: 1, threads: 2 });
    const signal = AbortSignal.timeout(400);
    const items = [{ way: "loop" }, { ms: 60_000 }];
    expect((await rejection(aborted.mapProcesses(items, { signal }))).name).toBe("TimeoutError");
    expect(await aborted.mapProcesses([{}])).toHaveLength(1);
    await aborted.destroy();
    expect(children()).toEqual([]);
  });

  it("report that their module cannot be loaded", async () => {
    const module = new URL("../../fixtures/throws-while-loading.mjs", import.meta.url);
    const parallel = opened(new Echo(), { startMethod, module, pool: 1, threads: 2 });
    expect(await rejection(parallel.mapProcesses(["a"]))).toBeInstanceOf(WorkerModuleError);
  });

  it("may belong to a one-file script, which ends by itself", async () => {
    const ran = await runScript(fixture("threads/hybrid.mjs"), { args: [startMethod] });
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.stdout).toBe("made\nA!,B!,C!\nend\n");
  });
});

it("a thread that cannot be interrupted is ended with its process", async () => {
  const parallel = opened(new Whereabouts(), {
    pool: 1,
    threads: 1,
    timeout: 200,
    forceKillAfterDelay: 50,
  });
  const error = await rejection(parallel.mapProcesses([{ way: "block" }]));
  expect(error).toBeInstanceOf(ItemTimeoutError);
  expect(await parallel.mapProcesses([{}], { timeout: 20_000 })).toMatchObject([{ generation: 2 }]);
});
