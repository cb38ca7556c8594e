import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { Pid } from "../fixtures/pid.mjs";
import { Heeds, Ignores, Loops, Stays } from "../fixtures/stays.mjs";
import { children, isAlive, scratchDirectories } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const HANGS = new URL("../fixtures/hangs-while-loading.mjs", import.meta.url);

describe.each(["fork", "spawn"] as const)("an abort by %s", (startMethod) => {
  it("before the call starts no child and rejects with the reason", async () => {
    const pull = vi.fn(() => ({ done: false, value: "a" }) as const);
    const parallel = opened(new Pid(), { startMethod });
    const items = { [Symbol.iterator]: () => ({ next: pull }) };
    const reason = { any: "thing" };
    expect(
      await rejection(parallel.mapProcesses(items, { signal: AbortSignal.abort(reason) })),
    ).toBe(reason);
    expect(pull).not.toHaveBeenCalled();
    expect(children()).toEqual([]);
  });

  it("during the call kills the children and rejects with the reason once they have ended", async () => {
    const directory = temporaryDirectory();
    const items = [0, 1].map((i) => ({ begun: `${directory}/${i}` }));
    const controller = new AbortController();
    const parallel = opened(new Stays(), { startMethod, concurrency: 2 });
    const call = rejection(
      parallel.mapProcesses([...items, ...items], { signal: controller.signal }),
    );
    await begunAt(...items.map((each) => each.begun));
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await call).toBe(reason);
    expect(children(parallel.stats().pids)).toEqual([]);
    expect(scratchDirectories()).toEqual([]);
    expect(parallel.stats().calls).toBe(0);
  });

  it("without a reason rejects with an AbortError", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const controller = new AbortController();
    const call = rejection(
      opened(new Stays(), { startMethod, signal: controller.signal }).mapProcesses([{ begun }]),
    );
    await begunAt(begun);
    controller.abort();
    expect((await call).name).toBe("AbortError");
  });

  it("ends loops that never yield", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const controller = new AbortController();
    const call = rejection(
      opened(new Loops(), { startMethod }).mapSettled([{ begun }], { signal: controller.signal }),
    );
    await begunAt(begun);
    controller.abort("loop");
    expect(await call).toBe("loop");
  });

  it("while the source of the items is awaited ends the call and closes the source", async () => {
    const close = vi.fn(() => Promise.resolve({ done: true, value: undefined } as const));
    const items = {
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise<IteratorResult<string>>(() => {}),
        return: close,
      }),
    };
    const controller = new AbortController();
    const call = rejection(
      opened(new Pid(), { startMethod }).mapProcesses(items, { signal: controller.signal }),
    );
    setTimeout(() => controller.abort("waited"), 20);
    expect(await call).toBe("waited");
    expect(close).toHaveBeenCalledOnce();
  });

  it("while the module of the worker hangs ends the call", async () => {
    const parallel = opened(new Pid(), { startMethod, module: HANGS });
    const call = parallel.mapProcesses(["a"], { signal: AbortSignal.timeout(500) });
    expect((await rejection(call)).name).toBe("TimeoutError");
    expect(children(parallel.stats().pids)).toEqual([]);
  });

  it("during the pause between two attempts ends the call", async () => {
    const parallel = opened(new Loops(), {
      startMethod,
      timeout: 300,
      retries: 1,
      retryDelay: { min: 100_000, max: 100_000 },
    });
    const controller = new AbortController();
    const call = rejection(parallel.mapProcesses([{}], { signal: controller.signal }));
    setTimeout(() => controller.abort("paused"), 1500);
    expect(await call).toBe("paused");
  });

  it("kills a child that ignores SIGTERM after forceKillAfterDelay", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const controller = new AbortController();
    const parallel = opened(new Ignores(), { startMethod, forceKillAfterDelay: 300 });
    const call = rejection(parallel.mapProcesses([{ begun }], { signal: controller.signal }));
    await begunAt(begun);
    const asked = performance.now();
    controller.abort("force");
    expect(await call).toBe("force");
    expect(performance.now() - asked).toBeGreaterThanOrEqual(290);
    expect(isAlive(Number(readFileSync(begun, "utf8")))).toBe(false);
  });

  it("reaches the worker as task.signal", async () => {
    const directory = temporaryDirectory();
    const item = { begun: `${directory}/begun`, wound: `${directory}/wound` };
    const controller = new AbortController();
    const call = rejection(
      opened(new Heeds(), { startMethod }).mapProcesses([item], { signal: controller.signal }),
    );
    await begunAt(item.begun);
    controller.abort("politely");
    expect(await call).toBe("politely");
    expect(readFileSync(item.wound, "utf8")).toContain("SIGTERM");
  });

  it("leaves the Parallel usable, and no listener on the signal", async () => {
    const begun = `${temporaryDirectory()}/begun`;
    const controller = new AbortController();
    const { signal } = controller;
    const add = vi.spyOn(signal, "addEventListener");
    const remove = vi.spyOn(signal, "removeEventListener");
    const parallel = opened(new Stays(), { startMethod });
    expect(await parallel.mapProcesses([{ ms: 1 }], { signal })).toEqual(["stayed"]);
    expect(remove).toHaveBeenCalledTimes(add.mock.calls.length);
    const call = rejection(parallel.mapProcesses([{ begun }], { signal }));
    await begunAt(begun);
    controller.abort("once");
    await call;
    expect(await parallel.mapProcesses([{ ms: 1 }])).toEqual(["stayed"]);
  });
});

function begunAt(...files: string[]): Promise<boolean> {
  return vi.waitUntil(() => files.every((each) => existsSync(each)), SOON);
}
