/** Several items in flight in one child. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { DeadChildError, ItemTimeoutError } from "forkmap";
import { describe, expect, it } from "vitest";
import { Overlaps } from "../fixtures/overlaps.mjs";
import { Pooled } from "../fixtures/pooled.mjs";
import { opened } from "../support/opened.js";
import { temporaryDirectory } from "../support/temporary.js";

type Told = any;

/**
 * On Node 26, garbage collection queues a task for a thread that a forked child does not have. With an empty event loop,
 * Node waits for that task forever, so a promise that never settles is detected only by its timeout.
 */
function isEndless(startMethod: string): boolean {
  return startMethod === "fork" && Number(process.versions.node.split(".")[0]) >= 26;
}

function times<T>(count: number, item: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => item(index));
}

describe.each(["fork", "spawn"] as const)("fibers in a pool by %s", (startMethod) => {
  it("run up to the configured number of items concurrently", async () => {
    const parallel = opened(new Overlaps(), { startMethod, pool: 2 });
    for (const fibers of [1, 2, 7]) {
      const found = (await parallel.mapProcesses(
        times(60, () => 5),
        { fibers },
      )) as Told[];
      expect(Math.max(...found.map(({ atOnce }) => atOnce))).toBe(fibers);
      expect(found.map(({ index }) => index)).toEqual(times(60, (i) => i));
    }
  });

  it("may be an option of a call, and return results in the order of the items, however these end", async () => {
    const parallel = opened(new Overlaps(), { startMethod, pool: 1 });
    const ms = times(40, (i) => (i % 4 === 0 ? 30 : (i * 7) % 11));
    const found = (await parallel.mapProcesses(ms, { fibers: 10 })) as Told[];
    expect(found.map(({ index }) => index)).toEqual(times(40, (i) => i));
    expect(Math.max(...found.map(({ atOnce }) => atOnce))).toBe(10);
    const alone = (await parallel.mapProcesses([1, 1, 1])) as Told[];
    expect(alone.map(({ atOnce }) => atOnce)).toEqual([1, 1, 1]);
  });

  it.each(["auto", 50] as const)(
    "work with batches (%s) of items that finish immediately",
    async (batch) => {
      const parallel = opened(new Pooled(), { startMethod, pool: 2, fibers: 8, batch });
      const items = times(3000, (i) =>
        i % 10 === 0 ? { ms: 1, text: String(i) } : { text: String(i) },
      );
      const found = (await parallel.mapProcesses(items)) as Told[];
      expect(found.map(({ text }) => text)).toEqual(times(3000, String));
    },
  );

  it("do not wait for a long item", async () => {
    const parallel = opened(new Pooled(), { startMethod, pool: 1, fibers: 4 });
    const done: number[] = [];
    const until = path.join(temporaryDirectory(), "go");
    const items = times(100, (i) => (i === 3 ? { until } : { ms: 1 }));
    await parallel.mapProcesses(items, {
      onFinish: (_item, index) => {
        if (done.push(index) === 99) writeFileSync(until, "");
      },
    });
    expect(done.at(-1)).toBe(3);
  });

  it("share a crash: the items in flight fail, with its signal; the others finish", async () => {
    const parallel = opened(new Pooled(), { startMethod, pool: 2, fibers: 4 });
    const items = times(80, (i) => (i === 30 ? { fate: "SIGKILL" } : { ms: 4 }));
    const settled = await parallel.mapSettled(items);
    const failed = settled.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
    expect(failed.map(({ reason }) => reason.index)).toContain(30);
    expect(failed.length).toBeLessThanOrEqual(4);
    for (const { reason } of failed) {
      expect(reason).toBeInstanceOf(DeadChildError);
      expect(reason.signal).toBe("SIGKILL");
    }
    expect(new Set(failed.map(({ reason }) => reason.pid)).size).toBe(1);
    const retried = times(80, (i) => (i === 30 ? { fate: "SIGKILL", once: true } : { ms: 4 }));
    const found = (await parallel.mapProcesses(retried, {
      retries: 1,
      retryDelay: { min: 1 },
    })) as Told[];
    const second = found.flatMap(({ attempt }, i) => (attempt === 2 ? [i] : []));
    expect(second).toContain(30);
    expect(second.length).toBeLessThanOrEqual(4);
  });

  it("share a timeout: the late item times out, and the errors of those lost with it say so", async () => {
    const parallel = opened(new Pooled(), { startMethod, pool: 1, fibers: 3, timeout: 3000 });
    // Two other items have half of their time left when it times out.
    const ms = (i: number) => ({ 20: 60_000, 21: 1500, 22: 1500, 23: 60_000, 24: 60_000 })[i] ?? 15;
    const items = times(60, (i) => ({ ms: ms(i) }));
    const settled = await parallel.mapSettled(items);
    const failed = settled.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
    expect(failed.map(({ reason }) => reason.index)).toEqual([20, 23, 24]);
    for (const { reason } of failed) {
      if (reason.index === 20) expect(reason).toBeInstanceOf(ItemTimeoutError);
      else expect(reason.message).toContain("was lost: another item of its child timed out");
    }
  });

  it.skipIf(isEndless(startMethod))(
    "that never settle fail; the other items still run",
    async () => {
      const parallel = opened(new Pooled(), { startMethod, pool: 1, fibers: 3 });
      const settled = await parallel.mapSettled(
        times(30, (i) => (i === 5 ? { fate: "never" } : { ms: 2 })),
      );
      expect(settled.flatMap(({ status }, i) => (status === "rejected" ? [i] : []))).toEqual([5]);
      const { reason } = settled[5] as PromiseRejectedResult;
      expect(reason.message).toContain("never settled");
    },
  );
});

it("accept some thousand items while one takes long, and continue after it", async () => {
  const parallel = opened(new Pooled(), { startMethod: "fork", pool: 1, fibers: 2, batch: 500 });
  const until = path.join(temporaryDirectory(), "go");
  const items = times(10_000, (i) => (i === 0 ? { until } : {}));
  const done: number[] = [];
  const stream = parallel.stream(items, { ordered: false }) as AsyncIterable<Told>;
  for await (const { index } of stream) {
    if (done.push(index) === 1000) writeFileSync(until, "");
  }
  expect(done.toSorted((a, b) => a - b)).toEqual(times(10_000, (i) => i));
  expect(done.indexOf(0)).toBeGreaterThanOrEqual(1000);
});
