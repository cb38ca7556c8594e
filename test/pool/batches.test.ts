/** Many items in one message: each item is as independent of the others as if it were sent alone. */
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { DeadChildError, ItemError, ItemTimeoutError, ResultTypeError } from "forkmap";
import { describe, expect, it } from "vitest";
import { Bytes, Echo, EchoJson, LateEcho, Long } from "../fixtures/echo.mjs";
import { FirstTries } from "../fixtures/first-tries.mjs";
import { Pooled } from "../fixtures/pooled.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { seeded } from "../support/seeded.js";
import { temporaryDirectory } from "../support/temporary.js";

type Told = any;

const KIB = 1024;
const IS_NEW = Number(process.versions.node.split(".")[0]) >= 26;

function times<T>(count: number, item: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => item(index));
}

/** Returns the indexes of items, in the order in which they began. */
function begunIn(notes: string): number[] {
  const lines = readFileSync(notes, "utf8").trim().split("\n");
  return lines.flatMap((line) => (JSON.parse(line) as { index?: number }).index ?? []);
}

describe.each(["fork", "spawn"] as const)("batches in a pool by %s", (startMethod) => {
  const pooled = (options: object) => opened(new Pooled(), { startMethod, pool: 2, ...options });

  it("return results byte for byte, of every length and alphabet, in the order of the items", async () => {
    const lengths = [0, 1, 2, 60, 61, 62, 63, 64, 65, 127, 128, 4094, 4095, 4096, 4097];
    const around = [64 * KIB, 128 * KIB, 640 * KIB].flatMap((at) =>
      [-4, -3, -2, -1, 0, 1].map((by) => at + by),
    );
    const alphabets = [
      "x",
      '"',
      "\\",
      "\0",
      "\n",
      "\u007f",
      "é",
      "€",
      "😀",
      "\ud800",
      "\udc00",
      "\u2028",
      ",",
    ];
    const texts = [
      ...[...lengths, ...around].map((length) => "x".repeat(length)),
      ...alphabets.flatMap((text) =>
        [1, 10, 11, 61, 2000, 11_000, 70_000].map((count) => text.repeat(count)),
      ),
    ];
    const random = seeded(7);
    // Among many short ones, so that they share batches.
    for (let i = 0; i < 2000; i += 1) texts.splice(random(texts.length), 0, `short ${i}`);
    for (const worker of [new Echo(), new LateEcho()]) {
      const parallel = opened(worker, { startMethod, pool: 2 });
      const found = await parallel.mapProcesses(texts);
      // Not toEqual, which would print the difference.
      expect(found.findIndex((text: string, i: number) => text !== texts[i])).toBe(-1);
      expect(found).toHaveLength(texts.length);
    }
    const json = texts.slice(0, 500).map((text, i) => ({ [text.slice(0, 9)]: [text, i, null] }));
    expect(await opened(new EchoJson(), { startMethod, pool: 2 }).mapProcesses(json)).toEqual(json);
    const bytes = await opened(new Bytes(), { startMethod, pool: 2 }).mapProcesses([
      0, 1, 255, 70_000,
    ]);
    expect(bytes).toEqual(
      [0, 1, 255, 70_000].map((length) => Uint8Array.from({ length }, (_, i) => i % 256)),
    );
  });

  it("lose no results when these fill the ledger", async () => {
    const lengths = times(3000, (i) => (i % 5 === 0 ? 20_000 + i : 300));
    const parallel = opened(new Long(), { startMethod, pool: 2, batch: 2000 });
    const found = await parallel.mapProcesses(lengths);
    expect(found.map((text: string) => text.length)).toEqual(lengths);
    // Errors and results of a wrong type are not lost either, however long.
    const items = times(600, (i) =>
      i % 2 === 0
        ? { fate: "throws", message: "m".repeat(3000) }
        : { fate: "mistyped", length: 3000 },
    );
    const settled = await pooled({ batch: 600 }).mapSettled(items);
    settled.forEach((each, index) => {
      const { reason } = each as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(index % 2 === 0 ? ItemError : ResultTypeError);
      expect(reason).toMatchObject({ index });
      expect(reason.message.length).toBeGreaterThan(3000);
    });
  });

  it("lose only the item that fails, whatever the failure", async () => {
    const fates = new Map<
      number,
      [fate: string, type: new (...args: never[]) => Error, message: string]
    >([
      [37, ["throws", ItemError, "failed: RangeError: thrown"]],
      [97, ["rejects", ItemError, "failed: RangeError: rejected"]],
      [157, ["exits", DeadChildError, "called process.exit(3)"]],
      [217, ["SIGKILL", DeadChildError, "killed by SIGKILL"]],
      [277, ["SIGSEGV", DeadChildError, "killed by SIGSEGV"]],
      // See fibers.test.ts: excludes children forked by Node 26, after a garbage collection.
      [337, IS_NEW ? ["exits", DeadChildError, ""] : ["never", DeadChildError, "never settled"]],
      // See left-behind.test.ts: the item that caused it is unknown.
      [397, ["uncaught", DeadChildError, "left behind: RangeError: uncaught (num "]],
      [457, ["loops", ItemTimeoutError, "timed out after 2500 ms"]],
      [517, ["heeds", ItemTimeoutError, "timed out after 2500 ms"]],
      [577, ["mistyped", ResultTypeError, "returned an object: `k` is NaN"]],
    ]);
    const items = times(640, (i) => {
      const [fate] = fates.get(i) ?? [];
      return fate === undefined ? { text: String(i) } : { fate };
    });
    const parallel = pooled({ batch: 50, timeout: 2500, forceKillAfterDelay: 100 });
    const settled = await parallel.mapSettled(items);
    for (const [index, each] of settled.entries()) {
      const [fate, type, message] = fates.get(index) ?? [];
      if (each.status === "fulfilled") {
        expect(each.value).toMatchObject({ index, text: String(index), attempt: 1 });
        expect(fate).toBeUndefined();
      } else {
        expect(each.reason, fate).toBeInstanceOf(type);
        expect(each.reason).toMatchObject({ index, attempt: 1 });
        expect(each.reason.message).toContain(message);
      }
    }
  });

  it("lose only the item that runs out of memory", async () => {
    const items = times(60, (i) => (i === 33 ? { fate: "memory" } : {}));
    const scarce =
      startMethod === "fork"
        ? { limits: { memory: 64 * KIB * KIB } }
        : { execArgv: ["--max-old-space-size=32"] };
    const settled = await pooled({ batch: 20, ...scarce }).mapSettled(items);
    expect(settled.flatMap(({ status }, i) => (status === "rejected" ? [i] : []))).toEqual([33]);
    const { reason } = settled[33] as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(DeadChildError);
    if (startMethod === "fork") expect(reason.probablyOutOfMemory).toBe(true);
  });

  it("do not wait for a child that code left behind by an earlier item keeps from its next item", async () => {
    const parallel = pooled({ pool: 1, batch: 1, timeout: 4000, forceKillAfterDelay: 100 });
    const settled = await parallel.mapSettled([{}, { fate: "hogs" }, {}, {}]);
    expect(settled.map(({ status }) => status)).toEqual([
      "fulfilled",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    expect(settled[2]).toMatchObject({ reason: { name: "ItemTimeoutError", index: 2 } });
  });

  it("start no item after a failure", async () => {
    const parallel = pooled({ batch: 100 });
    await parallel.mapProcesses(times(50, () => ({})));
    const error = await rejection(
      parallel.mapProcesses(times(2000, (i) => (i === 20 ? { fate: "throws" } : { spin: 0.2 }))),
    );
    expect(error).toMatchObject({ index: 20, code: "ERR_PARALLEL_ITEM" });
    // The other child may have continued until it was notified.
    const [first] = (await parallel.mapProcesses([{}])) as Told[];
    expect(first.done).toBeLessThan(800);
  });

  it("repeat an item that has begun only on request, and items that have not begun in any slot", async () => {
    const items = times(100, (i) => (i === 40 ? { fate: "SIGKILL" } : {}));
    const settled = await pooled({ batch: 20 }).mapSettled(items, {
      retries: 2,
      retryDelay: { min: 1 },
    });
    expect(settled[40]).toMatchObject({ status: "rejected", reason: { attempt: 3 } });
    settled.forEach((each: Told, i) => {
      if (i !== 40) expect(each.value.attempt).toBe(1);
    });
  });

  it("give each item its own index, attempt and error, whether it became a task at once, late or never", async () => {
    const random = seeded(3);
    const items = times(3000, (index) => {
      const kind = random(1000);
      if (kind === 0) return `${index} dies`;
      if (kind < 30) return `${index} throws`;
      // Too long for a line: the items beside it are tasks from the beginning.
      return kind < 36 ? `${index} ${"x".repeat(9 * KIB)}` : `${index}`;
    });
    const tries = (text: string) => (/throws|dies/.test(text) ? 2 : 1);
    const expected = items.map((text, index) => `${text} ${index} ${tries(text)}`);
    const parallel = opened(new FirstTries(), { startMethod, pool: 2 });
    const retries = { retries: 1, retryDelay: { min: 1, max: 1 } };
    expect(await parallel.mapProcesses(items, retries)).toEqual(expected);
    const finished: unknown[] = [];
    const onFinish = (item: string, index: number, result: unknown, { attempt }: Told) => {
      finished.push([item, index, result, attempt]);
    };
    await parallel.mapProcesses(items, { ...retries, onFinish, finishInOrder: true });
    expect(finished).toEqual(
      items.map((text, index) => [text, index, expected[index], tries(text)]),
    );
    for (const [index, each] of (await parallel.mapSettled(items)).entries()) {
      if (tries(items[index]!) === 1) expect(each).toMatchObject({ value: expected[index] });
      else expect((each as Told).reason).toMatchObject({ index, attempt: 1 });
    }
  });

  it("do not hold short items behind a long one", async () => {
    for (const [batch, count, others] of [
      ["auto", 200, {}],
      [100, 200, {}],
      // One item per batch, with the next one sent ahead.
      ["auto", 22, { spin: 30 }],
    ] as const) {
      const parallel = pooled({ batch });
      await parallel.mapProcesses(times(count, () => ({})));
      const busyUntil = path.join(temporaryDirectory(), "go");
      const done: number[] = [];
      const items = times(count, (i) => (i === 20 ? { busyUntil } : others));
      // It ends once all others are done: items behind it would never end.
      await parallel.mapProcesses(items, {
        onFinish: (_item, index) => {
          if (done.push(index) === count - 1) writeFileSync(busyUntil, "");
        },
      });
      expect(done.indexOf(20)).toBe(count - 1);
    }
  });

  it("do not begin items after an error, even if they were sent ahead", async () => {
    const notes = path.join(temporaryDirectory(), "notes");
    const parallel = opened(new Pooled(notes), { startMethod, pool: 1 });
    const items = times(8, (i) => ({ spin: 30, ...(i === 3 ? { fate: "throws" } : {}) }));
    expect(await rejection(parallel.mapProcesses(items))).toMatchObject({ index: 3 });
    expect(begunIn(notes)).toEqual([0, 1, 2, 3]);
    // The next call is not affected.
    expect(await parallel.mapProcesses([{}])).toHaveLength(1);
  });

  it("begin each item once, however often it is recalled", async () => {
    const random = seeded(5);
    const indexes = times(300, (i) => i);
    for (const options of [{ pool: 4 }, { pool: 3, batch: 60 }, { pool: 2, fibers: 3 }]) {
      const notes = path.join(temporaryDirectory(), "notes");
      const parallel = opened(new Pooled(notes), { startMethod, ...options });
      // Some items delay those behind them, until a slot is free for these.
      const items = times(300, () =>
        random(15) === 0 ? { spin: random(40) } : random(4) === 0 ? { ms: random(3) } : {},
      );
      const found: Told[] = await parallel.mapProcesses(items);
      expect(found.map(({ index }) => index)).toEqual(indexes);
      expect(begunIn(notes).toSorted((a, b) => a - b)).toEqual(indexes);
      // All items of a slot may have been recalled, if its child was delayed.
      if (!("batch" in options))
        expect(new Set(found.map(({ num }) => num)).size).toBe(options.pool);
    }
  });

  it("do not hold a streamed result back for later items of its batch", async () => {
    const parallel = pooled({ batch: 50 });
    await parallel.mapProcesses(times(4, () => ({})));
    const busyUntil = path.join(temporaryDirectory(), "go");
    const items = times(50, (i) => (i === 10 ? { busyUntil } : {}));
    const read: number[] = [];
    const stream = parallel.stream(items, { ordered: false }) as AsyncIterable<Told>;
    for await (const { index } of stream) {
      if (read.push(index) === 49) writeFileSync(busyUntil, "");
    }
    expect(read.indexOf(10)).toBe(49);
  });

  it("end with the call: an abort kills the running items, and none continues", async () => {
    const parallel = pooled({ batch: 2000 });
    const controller = new AbortController();
    const call = rejection(
      parallel.mapProcesses(
        times(4000, () => ({ spin: 2 })),
        { signal: controller.signal, onFinish: () => controller.abort("enough") },
      ),
    );
    expect(await call).toBe("enough");
    const found = (await parallel.mapProcesses(times(2, () => ({ ms: 20 })))) as Told[];
    for (const { done } of found) expect(done).toBeLessThan(100);
  });
});
