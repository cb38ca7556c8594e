/** stream(): pulls and starts items lazily, is bounded, in the order of the items or of their completion. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { ClosedError, type StreamOptions } from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { ResultStream } from "../../src/call/result-stream.js";
import { Echo } from "../fixtures/echo.mjs";
import { FailsFirst } from "../fixtures/fails-first.mjs";
import { Pooled } from "../fixtures/pooled.mjs";
import { children } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

type Told = any;

function times<T>(count: number, item: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => item(index));
}

/** A source that counts the items pulled and records whether it was closed. */
function counted<T>(item: (index: number) => T, count = Infinity) {
  const source = {
    pulled: 0,
    closed: 0,
    *[Symbol.iterator]() {
      try {
        while (source.pulled < count) yield item(source.pulled++);
      } finally {
        source.closed += 1;
      }
    },
  };
  return source;
}

async function* slowly<T>(items: Iterable<T>, ms: number): AsyncGenerator<T> {
  for (const item of items) {
    await sleep(ms);
    yield item;
  }
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of stream) found.push(each);
  return found;
}

/** Returns the results read before the error, and the error. */
async function untilError(stream: AsyncIterable<Told>): Promise<{ read: number[]; error: Told }> {
  const read: number[] = [];
  const error = await rejection(
    (async () => {
      for await (const { index } of stream) read.push(index);
    })(),
  );
  return { read, error };
}

describe.each([
  { startMethod: "fork", pool: 2 },
  { startMethod: "spawn", pool: 2 },
  { startMethod: "fork", pool: undefined },
] as const)("stream by $startMethod, pool $pool", ({ startMethod, pool }) => {
  const places = pool === undefined ? { concurrency: 2 } : { pool };
  const open = (options: object = {}) =>
    opened(new Pooled(), { startMethod, ...places, ...options });

  it("gives results in the order of the items, or of their completion", async () => {
    const parallel = open();
    await parallel.ready();
    const items = times(20, (i) => ({ ms: i === 1 ? 50 : 2 }));
    const ordered = await all<Told>(parallel.stream(items));
    expect(ordered.map(({ index }) => index)).toEqual(times(20, (i) => i));
    const until = path.join(temporaryDirectory(), "go");
    const completed: number[] = [];
    const waiting = times(20, (i) => (i === 1 ? { until } : { ms: 2 }));
    const stream = parallel.stream(waiting, { ordered: false, backpressure: 30 });
    for await (const { index } of stream as AsyncIterable<Told>) {
      if (completed.push(index) === 19) writeFileSync(until, "");
    }
    expect(completed.indexOf(1)).toBe(19);
    expect(completed.toSorted((a, b) => a - b)).toEqual(times(20, (i) => i));
    expect(await all(parallel.stream([]))).toEqual([]);
  });

  it("starts and pulls nothing before the first read", async () => {
    const parallel = open();
    const source = counted(() => ({}), 3);
    const stream = parallel.stream(source);
    await turn();
    expect([source.pulled, children(), parallel.stats().pids]).toEqual([0, [], []]);
    expect(await all<Told>(stream)).toHaveLength(3);
    expect(source.closed).toBe(1);
  });

  it("accepts endless input; leaving early ends the work and closes the source", async () => {
    const parallel = open();
    const source = counted(() => ({}));
    const read: number[] = [];
    for await (const { index } of parallel.stream(source) as AsyncIterable<Told>) {
      read.push(index);
      if (read.length === 25) break;
    }
    expect(read).toEqual(times(25, (i) => i));
    expect([source.closed, parallel.stats().calls]).toEqual([1, 0]);
    const { pulled } = source;
    await sleep(30);
    expect(source.pulled).toBe(pulled);
    // The running items were killed: they would have taken a minute.
    const busy = parallel.stream(
      counted((i) => (i === 0 ? {} : { ms: 60_000 })),
    ) as AsyncIterableIterator<Told>;
    expect((await busy.next()).value.index).toBe(0);
    expect(await busy.return!()).toEqual({ done: true, value: undefined });
    expect(await busy.next()).toEqual({ done: true, value: undefined });
    expect(await parallel.mapProcesses([{}, {}])).toHaveLength(2);
  });

  it("pulls no more items ahead of its reader than `backpressure` allows", async () => {
    const parallel = open();
    for (const [backpressure, ordered] of [
      [1, true],
      [3, true],
      [3, false],
      [10, false],
    ] as const) {
      const source = counted(() => ({}), 24);
      let read = 0;
      let most = 0;
      for await (const _ of parallel.stream(source, { backpressure, ordered })) {
        read += 1;
        if (read % 8 === 0) await sleep(10);
        most = Math.max(most, source.pulled - read);
      }
      expect(read).toBe(24);
      expect(most).toBeLessThanOrEqual(backpressure);
      if (backpressure === 3) expect(most).toBeGreaterThan(1);
    }
  });

  it("rejects with the error that stopped it, once the earlier results have been read", async () => {
    const parallel = open();
    const items = times(40, (i) => (i === 7 ? { fate: "rejects" } : { ms: 1 }));
    const source = counted((i) => items[i], 40);
    const { read, error } = await untilError(parallel.stream(source));
    // The earlier items that had begun.
    expect(read).toEqual(times(read.length, (i) => i));
    expect(read.length).toBeLessThanOrEqual(7);
    expect(error).toMatchObject({ index: 7, code: "ERR_PARALLEL_ITEM" });
    expect(source.closed).toBe(1);
    const later = await untilError(parallel.stream(items, { ordered: false }));
    expect(later.read).not.toContain(7);
    expect(later.error).toMatchObject({ index: 7 });
  });

  it.each([true, false])(
    "leaves failed items out with stopOnError: false (ordered: %s)",
    async (ordered) => {
      const parallel = open();
      // More consecutive failures than results that may wait to be read.
      const items = times(60, (i) => (i % 3 === 0 || i > 40 ? { fate: "throws" } : {}));
      const options: StreamOptions = { stopOnError: false, backpressure: 4, ordered };
      const { read, error } = await untilError(parallel.stream(items, options));
      const good = times(60, (i) => i).filter((i) => i % 3 !== 0 && i <= 40);
      expect(read.toSorted((a, b) => a - b)).toEqual(good);
      if (ordered) expect(read).toEqual(good);
      expect(error).toBeInstanceOf(AggregateError);
      expect(error.errors).toHaveLength(60 - good.length);
    },
  );

  // Handling an answer can send the next line to the same child, which has not answered that one yet.
  it.runIf(pool)(
    "keeps a child that is sent its next item while its answer is handled",
    async () => {
      const parallel = opened(new FailsFirst(), { startMethod, pool: 2 });
      const items = times(12, (i) => i);
      const read: unknown[] = [];
      const reading = (async () => {
        for await (const n of parallel.stream(items, { batch: 1, stopOnError: false }))
          read.push(n);
      })();
      const { errors } = await rejection<AggregateError>(reading);
      expect(errors).toHaveLength(6);
      expect(read).toEqual([6, 7, 8, 9, 10, 11]);
      expect(parallel.stats().slots.map(({ restarts }) => restarts)).toEqual([0, 0]);
    },
  );

  it("accepts async iterables, and closes them", async () => {
    const parallel = open();
    const found = await all<Told>(
      parallel.stream(
        slowly(
          times(10, (i) => ({ text: `${i}` })),
          2,
        ),
      ),
    );
    expect(found.map(({ text }) => text)).toEqual(times(10, String));
    let closed = false;
    async function* endless() {
      try {
        for (;;) yield {};
      } finally {
        closed = true;
      }
    }
    for await (const _ of parallel.stream(endless())) break;
    await vi.waitFor(() => expect(closed).toBe(true), SOON);
  });

  it("reports the error of its source once the earlier results have been read", async () => {
    const parallel = open();
    await parallel.ready();
    const reason = new Error("no more");
    const broken = counted((i) => {
      if (i === 12) throw reason;
      return {};
    });
    const { read, error } = await untilError(parallel.stream(broken));
    expect([read, error]).toEqual([times(read.length, (i) => i), reason]);
    const bad = await untilError(parallel.stream(times(20, (i) => (i === 9 ? NaN : {}))));
    expect(bad.read).toEqual(times(bad.read.length, (i) => i));
    expect(bad.error).toBeInstanceOf(TypeError);
    expect(bad.error.message).toContain("Item 9");
  });
});

describe("a stream", () => {
  it("answers concurrent reads in order", async () => {
    const parallel = opened(new Echo(), { pool: 2 });
    const stream = parallel.stream(times(6, String));
    const read = await Promise.all(times(8, () => stream.next()));
    expect(read.map(({ value }) => value as unknown)).toEqual([
      ...times(6, String),
      undefined,
      undefined,
    ]);
    expect(read.map(({ done }) => done)).toEqual([...times(6, () => false), true, true]);
  });

  it("rejects its first read when the call cannot be made", async () => {
    const parallel = opened(new Echo(), { pool: 1 });
    const stream = parallel.stream(5 as never);
    expect(await rejection(stream.next())).toBeInstanceOf(TypeError);
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    const late = parallel.stream(["a"]);
    await parallel.close();
    expect(await rejection(late.next())).toBeInstanceOf(ClosedError);
  });

  it("ends by its signal", async () => {
    const parallel = opened(new Pooled(), { pool: 2 });
    const controller = new AbortController();
    const stream = parallel.stream(
      counted((i) => (i < 3 ? {} : { ms: 60_000 })),
      {
        signal: controller.signal,
      },
    );
    expect((await stream.next()).done).toBe(false);
    setTimeout(() => controller.abort("enough"), 20);
    expect(await rejection(all(stream))).toBe("enough");
  });

  it("is settled by destroy(), even without a pending read", async () => {
    const parallel = opened(new Pooled(), { pool: 2 });
    const stream = parallel.stream(counted(() => ({})));
    await stream.next();
    await parallel.destroy("away");
    expect(await rejection(all(stream))).toBe("away");
  });

  it(
    "buffers no more for a slow reader than for a fast one, and loses nothing",
    { timeout: 20_000 },
    async () => {
      const parallel = opened(new Echo(), { pool: 2 });
      const count = 30_000;
      const source = counted((i) => `${i} ${"t".repeat(200)}`, count);
      let read = 0;
      let most = 0;
      for await (const text of parallel.stream(source)) {
        expect(text.startsWith(`${read} `)).toBe(true);
        read += 1;
        most = Math.max(most, source.pulled - read);
        if (read % 3000 === 0) await sleep(20);
      }
      expect(read).toBe(count);
      // Two batches for each slot, each of 2048 items at most.
      expect(most).toBeLessThanOrEqual(2 * 2 * 2048);
    },
  );

  it("never keeps a pending read waiting", async () => {
    // Tries every order of results and reads for a few items, without processes.
    for (const ordered of [true, false]) {
      for (let order = 0; order < 720; order += 1) {
        const left = ["p0", "p1", "f2", "r", "r", "r"];
        const stream: ResultStream<number> = new ResultStream(ordered, () => ({
          run: () => ended,
          cancel() {},
          pulled: 3,
          window: 3,
          onRead() {},
        }));
        let end = () => {};
        const ended = new Promise<void>((resolve) => (end = resolve));
        const reads = [stream.next()];
        for (let i = left.length, rest = order; i > 0; rest = Math.floor(rest / i), i -= 1) {
          const [step] = left.splice(rest % i, 1);
          if (step === "r") reads.push(stream.next());
          else if (step === "f2") stream.skip(2);
          else stream.push(Number(step![1]), Number(step![1]));
        }
        end();
        const found = (await Promise.all(reads)).map(({ value }) => value as unknown);
        if (ordered) expect(found).toEqual([0, 1, undefined, undefined]);
        else expect(new Set(found)).toEqual(new Set([0, 1, undefined]));
      }
    }
  });
});
