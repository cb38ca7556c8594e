/** One item at a time, from many callers. */
import { AsyncLocalStorage } from "node:async_hooks";
import { getEventListeners } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import {
  ClosedError,
  DeadChildError,
  ItemError,
  ItemTimeoutError,
  JsonWorker,
  type Parallel,
  type ParallelOptions,
  QueueFullError,
  type RunOptions,
} from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { Does } from "../fixtures/does.mjs";
import { Pooled } from "../fixtures/pooled.mjs";
import { begun } from "../support/run-log.js";
import { children, scratchDirectories } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { program } from "../support/program.js";
import { rejection } from "../support/rejection.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const BROKEN = new URL("../fixtures/throws-while-loading.mjs", import.meta.url);
const FOR_EVER = 120_000;

interface Way {
  readonly name: string;
  readonly options: Partial<ParallelOptions>;
  readonly isThread?: boolean;
}

const WAYS: readonly Way[] = [
  { name: "a forked child per item", options: { concurrency: 2 } },
  { name: "a forked pool", options: { pool: 2 } },
  { name: "a forked pool with fibers", options: { pool: 1, fibers: 2 } },
  { name: "a pool whose children are replaced", options: { pool: 2, maxItemsPerChild: 1 } },
  { name: "a spawned child per item", options: { startMethod: "spawn", concurrency: 2 } },
  { name: "a spawned pool", options: { startMethod: "spawn", pool: 2 } },
  { name: "threads in processes", options: { pool: 1, threads: 2 } },
  { name: "threads", options: { concurrency: 2 }, isThread: true },
  { name: "no processes", options: { pool: 0, fibers: 2 } },
];

type Told = any;

function runner(way: Way, more: Partial<ParallelOptions> = {}) {
  const parallel = opened(new Does() as JsonWorker<unknown, Told>, { ...way.options, ...more });
  const run = (item: unknown, options?: RunOptions) =>
    way.isThread ? parallel.runThread(item, options) : parallel.run(item, options);
  return { parallel, run };
}

describe.each(WAYS)("run in $name", (way) => {
  const { isThread } = way;
  const queueOf = (parallel: Parallel<unknown, Told>) => {
    const { queue, threads } = parallel.stats();
    return isThread ? threads!.queue : queue;
  };

  it("returns the result of each item to its caller", async () => {
    const { parallel, run } = runner(way);
    const numbers = Array.from({ length: 40 }, (_, n) => n);
    expect(await Promise.all(numbers.map((gives) => run({ gives })))).toEqual(numbers);
    expect(await run({ gives: "alone" })).toBe("alone");
    expect(parallel.stats()).toMatchObject({ calls: 0, items: { succeeded: 41, failed: 0 } });
    expect(queueOf(parallel)).toMatchObject({ waiting: 0, oldest: 0, waitTime: { count: 41 } });
  });

  it("begins the items in the order in which they came", async () => {
    const log = `${temporaryDirectory()}/log`;
    const { run } = runner(way, { batch: 1 });
    await Promise.all(Array.from({ length: 30 }, () => run({ log })));
    const all = begun(log);
    expect(all).toHaveLength(30);
    // How far one slot is ahead of the other is up to the machine.
    for (const num of new Set(all.map((each) => each.num))) {
      const indexes = all.filter((each) => each.num === num).map(({ index }) => index);
      expect(indexes).toEqual(indexes.toSorted((one, other) => one - other));
    }
  });

  it("fails one item, and only that one", async () => {
    const { parallel, run } = runner(way);
    const good = [run({ gives: 1 }), run({ gives: 2 })];
    const error = await rejection(run({ throws: "no" }));
    expect(error).toBeInstanceOf(ItemError);
    expect(error.message).toMatch(/^Item 2 failed: Error: no \(num \d/);
    expect(error.cause.message).toBe("no");
    expect(error.stack).toContain("run.test.ts");
    expect(await Promise.all(good)).toEqual([1, 2]);
    expect(parallel.stats().items).toEqual({ succeeded: 2, failed: 1 });
  });

  it("has options of its own for each item", async () => {
    const log = `${temporaryDirectory()}/log`;
    const { run } = runner(way, { timeout: FOR_EVER, retryDelay: { min: 1 } });
    const late = rejection(run({ ms: FOR_EVER, log }, { timeout: 600 }));
    const slow = run({ ms: 1200, gives: "slow" }, { retries: 1 });
    const third = run({ throws: "again", times: 2, gives: "third", log }, { retries: 2 });
    expect(await late).toBeInstanceOf(ItemTimeoutError);
    expect((await late).message).toMatch(/^Item 0 timed out after 600 ms/);
    expect(await slow).toBe("slow");
    expect(await third).toBe("third");
    const attempts = begun(log).filter(({ index }) => index === 2);
    // With fibers, the child that the first item took with it may have been running this one.
    if ((way.options.fibers ?? 1) === 1)
      expect(attempts.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  });

  it("drops an item that waits when its signal aborts", async () => {
    const log = `${temporaryDirectory()}/log`;
    const gate = `${temporaryDirectory()}/gate`;
    const { run, parallel } = runner(way, { batch: 1 });
    const first = [run({ until: gate, log }), run({ until: gate, log })];
    await vi.waitFor(() => expect(begun(log)).toHaveLength(2), SOON);
    const controller = new AbortController();
    const dropped = rejection(run({ log }, { signal: controller.signal }));
    const last = run({ gives: "last" });
    await setImmediate();
    expect(queueOf(parallel).waiting).toBe(2);
    const reason = new Error("not needed");
    controller.abort(reason);
    expect(await dropped).toBe(reason);
    expect(queueOf(parallel).waiting).toBe(1);
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
    writeFileSync(gate, "");
    await Promise.all(first);
    expect(await last).toBe("last");
    expect(begun(log)).toHaveLength(2);
  });

  it("ends an item that runs when its signal aborts, and no other", async () => {
    const log = `${temporaryDirectory()}/log`;
    const gate = `${temporaryDirectory()}/gate`;
    const { run } = runner(way);
    const controller = new AbortController();
    const aborted = rejection(run({ ms: FOR_EVER, log }, { signal: controller.signal }));
    const others = [1, 2, 3].map((gives) => run({ until: gate, gives, log }));
    await vi.waitFor(() => expect(begun(log).length).toBeGreaterThanOrEqual(2), SOON);
    const reason = { any: "thing" };
    controller.abort(reason);
    expect(await aborted).toBe(reason);
    writeFileSync(gate, "");
    // With fibers, the aborted item goes on in the child that runs the others.
    expect(await Promise.all(others)).toEqual([1, 2, 3]);
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
    expect(begun(log).filter(({ attempt }) => attempt > 1)).toEqual([]);
  });

  it("shares a signal among any number of items, with one listener", async () => {
    const { run } = runner(way);
    const { signal } = new AbortController();
    const all = Array.from({ length: 20 }, (_, gives) => run({ gives }, { signal }));
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    await Promise.all(all);
    expect(getEventListeners(signal, "abort")).toEqual([]);
    expect(await rejection(run({}, { signal: AbortSignal.abort("over") }))).toBe("over");
  });

  it("refuses more items than may wait, and tells when there is room again", async () => {
    const log = `${temporaryDirectory()}/log`;
    const gate = `${temporaryDirectory()}/gate`;
    const { run, parallel } = runner(way, { maxQueue: 2, batch: 1 });
    // Two begin, two wait, before the pool is open as well as after it.
    for (let round = 0; round < 2; round += 1) {
      const taken = [1, 2, 3, 4].map((gives) => run({ until: `${gate}${round}`, gives, log }));
      const refused = await rejection<QueueFullError>(run({}));
      expect(refused).toBeInstanceOf(QueueFullError);
      expect(refused).toMatchObject({ code: "ERR_PARALLEL_QUEUE_FULL", waiting: 2 });
      writeFileSync(`${gate}${round}`, "");
      expect(await Promise.all(taken)).toEqual([1, 2, 3, 4]);
    }
    expect(parallel.stats().items).toEqual({ succeeded: 8, failed: 0 });
    expect(queueOf(parallel).refused).toBe(2);
  });

  it("is refused after close, and close awaits what is under way", async () => {
    const { run, parallel } = runner(way);
    const all = [1, 2, 3].map((gives) => run({ ms: 100, gives }));
    await setImmediate();
    await parallel.close();
    expect(await Promise.all(all)).toEqual([1, 2, 3]);
    expect(await rejection(run({}))).toBeInstanceOf(ClosedError);
    expect(children()).toEqual([]);
    expect(scratchDirectories()).toEqual([]);
  });

  it("rejects with the reason of destroy, and leaves nothing", async () => {
    const log = `${temporaryDirectory()}/log`;
    const { run, parallel } = runner(way);
    const all = [1, 2, 3, 4].map(() => rejection(run({ ms: FOR_EVER, log })));
    await vi.waitFor(() => expect(begun(log)).toHaveLength(2), SOON);
    await parallel.destroy("enough");
    expect(await Promise.all(all)).toEqual(Array.from({ length: 4 }, () => "enough"));
    expect(children()).toEqual([]);
    expect(scratchDirectories()).toEqual([]);
    expect(parallel.stats().calls).toBe(0);
  });

  it("tells the caller what is wrong with an item", async () => {
    const { run } = runner(way);
    const error = await rejection(run({ bad: () => {} }));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^The item is not a JSON value/);
    expect(await run({ gives: 1 })).toBe(1);
  });

  it("shares its slots with a long call: neither waits until the other has ended", async () => {
    const { run, parallel } = runner(way);
    let done = 0;
    const items = Array.from({ length: 60 }, () => ({ ms: 10 }));
    const call = isThread
      ? parallel.eachThread(items, { onFinish: () => (done += 1) })
      : parallel.eachProcess(items, { onFinish: () => (done += 1) });
    await vi.waitFor(() => expect(done).toBeGreaterThan(2), SOON);
    expect(await run({ gives: "between" })).toBe("between");
    expect(done).toBeLessThan(60);
    await call;
  });
});

describe.each(WAYS.filter(({ options, isThread }) => options.pool !== 0 && !isThread))(
  "run in $name",
  (way) => {
    const { options } = way;
    const isAlone = (options.fibers ?? 1) === 1 && options.threads === undefined;

    it.runIf(isAlone)("survives a child that dies, with a retry and without", async () => {
      const { run } = runner(way, { retryDelay: { min: 1 } });
      const dead = rejection(run({ dies: true }));
      const others = Array.from({ length: 20 }, (_, gives) => run({ gives }));
      const again = run({ dies: true, times: 1, gives: "again" }, { retries: 1 });
      expect(await dead).toBeInstanceOf(DeadChildError);
      expect(await Promise.all(others)).toEqual(others.map((_, n) => n));
      expect(await again).toBe("again");
    });

    it("leaves neither child nor directory when no item is under way, without a pool", async () => {
      const { run, parallel } = runner(way);
      await Promise.all([run({ gives: 1 }), run({ gives: 2 })]);
      if (options.pool !== undefined) return;
      await vi.waitFor(() => expect(scratchDirectories()).toEqual([]), SOON);
      expect(children(parallel.stats().pids)).toEqual([]);
      expect(await run({ gives: 3 })).toBe(3);
    });

    it("fails all that wait if the worker cannot be loaded, and tries again for later ones", async () => {
      const parallel = opened(new Does() as JsonWorker<unknown, Told>, {
        ...options,
        module: BROKEN,
      });
      for (let round = 0; round < 2; round += 1) {
        const errors = await Promise.all(
          [1, 2, 3].map((gives) => rejection(parallel.run({ gives }))),
        );
        for (const error of errors) expect(error.message).toContain("could not be loaded");
      }
    });

    it("sends long items and receives long results", async () => {
      const { run } = runner(way);
      const texts = [1, 70_000, 300_000].map((length) => "x".repeat(length));
      expect(await Promise.all(texts.map((gives) => run({ gives })))).toEqual(texts);
    });
  },
);

describe("onDrain", () => {
  it("lets one caller go for each free place, in their order", async () => {
    const parallel = opened(new Does() as JsonWorker<unknown, Told>, { pool: 2, maxQueue: 3 });
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 60 }, async (_, n) => {
        await parallel.onDrain();
        order.push(n);
        expect(await parallel.run({ ms: n % 5, gives: n })).toBe(n);
      }),
    );
    expect(order).toEqual(order.map((_, at) => at));
  });

  it("resolves at once if none waits, and is refused after close", async () => {
    const parallel = opened(new Does(), { pool: 1 });
    await parallel.onDrain();
    await parallel.onDrain("runThread");
    const wrong = await rejection(parallel.onDrain("mapProcesses" as "run"));
    expect(wrong.message).toBe('Expected "run" or "runThread", got "mapProcesses" (a string)');
    await parallel.close();
    expect(await rejection(parallel.onDrain())).toBeInstanceOf(ClosedError);
  });
});

describe("run", () => {
  it("ends an endless item in the middle of a batch as soon as its signal aborts", async () => {
    const parallel = opened(new Pooled() as JsonWorker<unknown, Told>, { pool: 1, batch: 4 });
    for (let round = 0; round < 8; round += 1) {
      const makes = `${temporaryDirectory()}/begun`;
      const controller = new AbortController();
      const first = parallel.run({ spin: 1 });
      const endless = rejection(
        parallel.run({ makes, fate: "loops" }, { signal: controller.signal }),
      );
      const last = parallel.run({ text: "last" });
      await vi.waitFor(() => expect(existsSync(makes)).toBe(true), {
        interval: 1,
        timeout: 20_000,
      });
      controller.abort("enough");
      expect(await endless).toBe("enough");
      expect((await last).text).toBe("last");
      await first;
    }
  });

  it("refuses an item that is no JSON value any more when its turn comes", async () => {
    const parallel = opened(new Does() as JsonWorker<unknown, Told>, { pool: 1, batch: 1 });
    const gate = `${temporaryDirectory()}/gate`;
    const first = parallel.run({ until: gate });
    const changed: { gives: unknown } = { gives: 1 };
    const calls = [parallel.run(changed), parallel.mapProcesses([changed])];
    await setImmediate();
    changed.gives = () => 1;
    writeFileSync(gate, "");
    for (const call of calls)
      expect((await rejection(call)).message).toMatch(/`gives` is a function/);
    await first;
  });

  it("keeps the AsyncLocalStorage context of its caller, after the item and in the item itself without processes", async () => {
    const request = new AsyncLocalStorage<string>();
    class Tells extends JsonWorker<null, string> {
      async process(): Promise<string> {
        await sleep(1);
        return request.getStore() ?? "none";
      }
    }
    const inline = opened(new Tells(), { pool: 0 });
    const pool = opened(new Does() as JsonWorker<unknown, Told>, { pool: 1 });
    const names = Array.from({ length: 20 }, (_, n) => `request ${n}`);
    await Promise.all(
      names.map((name) =>
        request.run(name, async () => {
          expect(await inline.run(null)).toBe(name);
          expect(await pool.run({ gives: name })).toBe(request.getStore());
        }),
      ),
    );
  });

  it("runs `tag` in the context of its caller", async () => {
    const { code, stdout } = await program("run-tags.mjs").ended;
    expect({ code, lines: stdout.split("\n").toSorted() }).toEqual({
      code: 0,
      lines: ["", "0 of one: a", "1 of two: b", "a b"],
    });
  });

  it.each([
    [{ onFinish: () => {} }, /does not support the option `onFinish` of new Parallel/],
    [{ journal: "/tmp/never" }, /does not support the option `journal`/],
    [{ dedupe: true }, /does not support the option `dedupe`/],
  ])("refuses defaults that it would ignore: %o", async (options, message) => {
    const error = await rejection(opened(new Does(), options).run({}));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(message);
    expect(existsSync("/tmp/never")).toBe(false);
  });

  it.each([
    [{ timeout: 0 }, /Expected `timeout` to be a number of ms/],
    [{ pool: 2 }, /The option `pool` is not one of `run`/],
    [{ tiemout: 5 }, /Unknown option `tiemout` of `run`/],
    [null, /Expected `options` to be an object, got null/],
  ])("refuses wrong options: %o", async (options, message) => {
    const error = await rejection(opened(new Does()).run({}, options as RunOptions));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(message);
  });

  it("takes what can begin, though other events have their turn before it", async () => {
    const parallel = opened(new Does() as JsonWorker<unknown, Told>, { pool: 0, maxQueue: 1 });
    for (let round = 0; round < 300; round += 1) {
      const both = [1, 2].map((gives) => parallel.run({ gives }));
      expect(await Promise.all(both)).toEqual([1, 2]);
    }
  });

  it("may be asked for 256 items at once in as many slots", async () => {
    const parallel = opened(new Does() as JsonWorker<unknown, Told>, {
      pool: 256,
      startMethod: "fork",
    });
    const numbers = Array.from({ length: 1000 }, (_, n) => n);
    expect(await Promise.all(numbers.map((gives) => parallel.run({ ms: 20, gives })))).toEqual(
      numbers,
    );
  });
});
