import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { makesAfter } from "../support/after-item.js";
import { Does } from "../fixtures/does.mjs";
import { Echo } from "../fixtures/echo.mjs";
import { Spans } from "../fixtures/spans.mjs";
import { ThrowsBelowZero } from "../fixtures/throws.mjs";
import { children } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

describe.each(["fork", "spawn"] as const)("hooks by %s", (startMethod) => {
  it("are called for an item before it starts and after it has succeeded", async () => {
    const calls: unknown[] = [];
    await opened(new Echo(), { startMethod, concurrency: 1 }).mapProcesses(["a", "b"], {
      onStart: (item, index) => calls.push(["start", item, index]),
      onFinish: (item, index, result) => calls.push(["finish", item, index, result]),
    });
    const of = (index: number) => calls.filter((each) => (each as unknown[])[2] === index);
    expect(of(0)).toEqual([
      ["start", "a", 0],
      ["finish", "a", 0, "a"],
    ]);
    expect(of(1)).toEqual([
      ["start", "b", 1],
      ["finish", "b", 1, "b"],
    ]);
  });

  it("receive the child's facts and costs", async () => {
    const infos: any[] = [];
    await opened(new Echo(), { startMethod }).mapProcesses(["a"], {
      onFinish: (_i, _n, _r, info) => infos.push(info),
    });
    expect(infos).toEqual([
      {
        num: 0,
        pid: expect.any(Number),
        attempt: 1,
        duration: expect.any(Number),
        usage: {
          userCpu: expect.any(Number),
          systemCpu: expect.any(Number),
          peakMemory: expect.any(Number),
        },
      },
    ]);
    expect(infos[0].pid).not.toBe(process.pid);
    expect(infos[0].usage.peakMemory).toBeGreaterThan(1024 * 1024);
  });

  it("run before the item: it starts once onStart has finished", async () => {
    const startedAt: number[] = [];
    const [span] = await opened(new Spans(), { startMethod }).mapProcesses([1], {
      onStart: async () => {
        await sleep(100);
        startedAt.push(Date.now());
      },
    });
    expect(span.from).toBeGreaterThanOrEqual(startedAt[0]);
  });

  it("are not called on success of an item that failed", async () => {
    const onFinish = vi.fn();
    const parallel = opened(new ThrowsBelowZero(), { startMethod, stopOnError: false });
    await rejection(parallel.mapProcesses([1, -1, 2], { onFinish }));
    expect(new Set(onFinish.mock.calls.map(([item]) => item))).toEqual(new Set([1, 2]));
  });

  it("never run concurrently, and the call waits for them", async () => {
    let running = 0;
    let most = 0;
    let count = 0;
    const hook = async () => {
      running += 1;
      most = Math.max(most, running);
      await sleep(20);
      running -= 1;
      count += 1;
    };
    await opened(new Echo(), { startMethod, concurrency: 4 }).mapProcesses(["a", "b", "c", "d"], {
      onStart: hook,
      onFinish: hook,
    });
    expect([most, count, running]).toEqual([1, 8, 0]);
  });

  it("run in the order of completion, or in the order of the items on request", async () => {
    const orders: number[][] = [];
    for (const finishInOrder of [false, true]) {
      const order: number[] = [];
      const parallel = opened(new Does(), { startMethod, concurrency: 3, finishInOrder });
      const directory = temporaryDirectory();
      const ended = (index: number) => path.join(directory, `ended-${index}`);
      const stops = [1, 2].map((index) => makesAfter(index, ended(index)));
      await parallel.mapProcesses([{ until: ended(1) }, { until: ended(2) }, {}], {
        onFinish: (_, index) => order.push(index),
      });
      for (const stop of stops) stop();
      orders.push(order);
    }
    expect(orders).toEqual([
      [2, 1, 0],
      [0, 1, 2],
    ]);
  });

  it("in order of the items continue past an item that failed", async () => {
    const order: number[] = [];
    const parallel = opened(new ThrowsBelowZero(), {
      startMethod,
      concurrency: 3,
      finishInOrder: true,
      stopOnError: false,
    });
    await rejection(
      parallel.mapProcesses([300, -1, 1, -1, 1], { onFinish: (_, index) => order.push(index) }),
    );
    expect(order).toEqual([0, 2, 4]);
  });

  it("that throw in onStart stop the call, and that item does not run", async () => {
    const reason = new Error("from onStart");
    const finished: string[] = [];
    const parallel = opened(new Echo(), { startMethod, concurrency: 1 });
    const call = parallel.mapProcesses(["a", "b", "c"], {
      onStart: (item) => {
        if (item === "b") throw reason;
      },
      onFinish: (item) => finished.push(item),
    });
    expect(await rejection(call)).toBe(reason);
    expect(finished).toEqual(["a"]);
    expect(children(parallel.stats().pids)).toEqual([]);
  });

  it("that reject in onFinish stop the call", async () => {
    const started: string[] = [];
    const call = opened(new Echo(), { startMethod, concurrency: 1 }).mapProcesses(
      ["a", "b", "c", "d", "e"],
      {
        onStart: (item) => started.push(item),
        onFinish: () => Promise.reject(new TypeError("from onFinish")),
      },
    );
    expect(await rejection(call)).toMatchObject({ name: "TypeError", message: "from onFinish" });
    expect(started.length).toBeLessThan(5);
  });

  it("that throw undefined stop the call with undefined", async () => {
    const call = opened(new Echo(), { startMethod }).mapProcesses(["a"], {
      onStart: () => Promise.reject(),
    });
    await expect(call).rejects.toBe(undefined);
  });

  it("that throw stop mapSettled as well", async () => {
    const reason = new Error("from onFinish");
    const call = opened(new Echo(), { startMethod }).mapSettled(["a"], {
      onFinish: () => Promise.reject(reason),
    });
    expect(await rejection(call)).toBe(reason);
  });

  it("that never settle do not outlive an abort", async () => {
    const controller = new AbortController();
    const onStart = () => new Promise(() => setTimeout(() => controller.abort("hook"), 50));
    const call = opened(new Echo(), { startMethod }).mapProcesses(["a", "b"], {
      onStart,
      signal: controller.signal,
    });
    expect(
      await Promise.race([rejection(call), sleep(20_000, "still waiting", { ref: false })]),
    ).toBe("hook");
  });

  it("that never settle after an item do not either", async () => {
    const controller = new AbortController();
    const onFinish = () => new Promise(() => setTimeout(() => controller.abort("hook"), 50));
    const call = opened(new Echo(), { startMethod }).mapProcesses(["a", "b"], {
      onFinish,
      signal: controller.signal,
    });
    expect(
      await Promise.race([rejection(call), sleep(20_000, "still waiting", { ref: false })]),
    ).toBe("hook");
  });
});
