/** A pool: numbered slots with children that stay, and every way these start and end. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ClosedError, DeadChildError, processorCount } from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { Echo } from "../fixtures/echo.mjs";
import { Outer } from "../fixtures/nested.mjs";
import { Pooled } from "../fixtures/pooled.mjs";
import { descendants, isAlive, scratchDirectories } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { program } from "../support/program.js";
import { rejection } from "../support/rejection.js";
import { fixture } from "../support/run-script.js";
import { PROMISED, SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

type Told = any;

const MIB = 1024 * 1024;

function times<T>(count: number, item: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => item(index));
}

/** Returns the values of the fulfilled outcomes. */
function values(settled: readonly PromiseSettledResult<Told>[]): Told[] {
  return settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
}

function countBy<T>(list: readonly T[], key: (each: T) => unknown): Map<unknown, number> {
  const counts = new Map<unknown, number>();
  for (const each of list) counts.set(key(each), (counts.get(key(each)) ?? 0) + 1);
  return counts;
}

function noted(file: string): Told[] {
  return readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe.each(["fork", "spawn"] as const)("a pool by %s", (startMethod) => {
  /** Runs items concurrently, until all have begun. */
  async function together(parallel: ReturnType<typeof pooled>, count: number): Promise<Told[]> {
    const until = path.join(temporaryDirectory(), "go");
    const waiting = parallel.mapProcesses(times(count, () => ({ until })));
    await vi.waitFor(() => expect(busySlots(parallel)).toBe(count), SOON);
    writeFileSync(until, "");
    return await waiting;
  }
  const busySlots = (parallel: ReturnType<typeof pooled>) =>
    parallel.stats().slots.filter(({ pid }) => pid !== undefined).length;
  const pooled = (options: object, ...args: string[]) =>
    opened(new Pooled(...args), { startMethod, ...options });

  it("starts slots only as needed, uses the lowest idle one, and keeps children between calls", async () => {
    const parallel = pooled({ pool: 3 });
    const [first] = await parallel.mapProcesses([{}]);
    expect(first).toMatchObject({ num: 0, generation: 1, setups: 1, done: 1 });
    expect(busySlots(parallel)).toBe(1);
    const two = await together(parallel, 2);
    expect(two.map(({ num, done }) => [num, done])).toEqual([
      [0, 2],
      [1, 1],
    ]);
    expect(two[0].pid).toBe(first.pid);
    const three = await together(parallel, 3);
    expect(three.map(({ num, generation }) => [num, generation])).toEqual([
      [0, 1],
      [1, 1],
      [2, 1],
    ]);
    expect(three.slice(0, 2).map(({ pid }) => pid)).toEqual(two.map(({ pid }) => pid));
    // One at a time: always the lowest.
    for (const text of ["a", "b"])
      expect(await parallel.mapProcesses([{ text }])).toMatchObject([{ num: 0, text }]);
    expect(scratchDirectories().filter((name) => name.endsWith(".ledger"))).toHaveLength(1);
  });

  it("keeps the num of a child that is replaced, and those of the others", async () => {
    const parallel = pooled({ pool: 2 });
    const [zero, one] = await together(parallel, 2);
    const died = await parallel.mapSettled([{ fate: "SIGKILL" }]);
    expect(died).toMatchObject([{ status: "rejected", reason: { num: 0, pid: zero.pid } }]);
    const [next, same] = await together(parallel, 2);
    expect(next).toMatchObject({ num: 0, generation: 2, done: 1 });
    expect(same).toMatchObject({ num: 1, generation: 1, pid: one.pid, done: 2 });
  });

  it("runs setup before the first item of a child, and teardown once, when it ends", async () => {
    const file = path.join(temporaryDirectory(), "notes");
    const parallel = pooled({ pool: 2 }, file);
    for (let call = 0; call < 3; call += 1) await parallel.mapProcesses(times(20, () => ({})));
    expect(noted(file).filter(({ what }) => what === "teardown")).toEqual([]);
    await parallel.close();
    const notes = noted(file);
    const pids = new Set(notes.map(({ pid }) => pid));
    expect(pids.size).toBeLessThanOrEqual(2);
    for (const pid of pids) {
      const own = notes.filter((each) => each.pid === pid).map(({ what }) => what);
      expect([own[0], own.at(-1)]).toEqual(["setup", "teardown"]);
      expect(new Set(own.slice(1, -1))).toEqual(new Set(["begin"]));
    }
    expect(notes.filter(({ what }) => what === "begin")).toHaveLength(60);
  });

  it("gives an item its place; frames nest", async () => {
    const [found] = await pooled({ pool: 1 }).mapProcesses([{}]);
    const frame = { kind: startMethod, num: 0, name: "Pooled" };
    expect(found).toMatchObject({ ...frame, index: 0, attempt: 1, parent: null, context: [frame] });
    const [nested] = await opened(new Outer(), { startMethod, pool: 1 }).mapProcesses([0]);
    const outer = { kind: startMethod, num: 0, name: "Outer" };
    for (const num of [0, 1]) {
      const inner = { kind: startMethod, num, name: "Inner" };
      expect(nested.inner[num]).toMatchObject({ parent: outer, context: [outer, inner] });
    }
  });

  it.each([1, 2, 7])("replaces a child after exactly %d items", async (maxItemsPerChild) => {
    const items = times(startMethod === "fork" ? 60 : 12, () => ({}));
    const found = await pooled({ pool: 2, maxItemsPerChild }).mapProcesses(items);
    for (const [key, count] of countBy(found, ({ num, generation }) => `${num} ${generation}`)) {
      expect(count, String(key)).toBeLessThanOrEqual(maxItemsPerChild);
    }
    // All children but the last of each slot have run their full number.
    expect(countBy(found, ({ pid }) => pid).size).toBeLessThanOrEqual(
      Math.floor(items.length / maxItemsPerChild) + 2,
    );
    expect(new Set(found.map(({ num }) => num)).size).toBeLessThanOrEqual(2);
  });

  it("does not count a recalled item as one of its child's", async () => {
    const parallel = pooled({ pool: 2, maxItemsPerChild: 5, batch: 5 });
    const directory = temporaryDirectory();
    const [makes, busyUntil] = [path.join(directory, "begun"), path.join(directory, "go")];
    let left = 9;
    // The items behind the first go to the other slot: they wait until the first begins, and it ends only after them.
    await parallel.mapProcesses([{ makes, busyUntil }, ...times(9, () => ({ until: makes }))], {
      onFinish: () => {
        left -= 1;
        if (left === 0) writeFileSync(busyUntil, "");
      },
    });
    const found: Told[] = [];
    while (!found.some(({ num, generation }) => num === 0 && generation === 2)) {
      found.push(...(await parallel.mapProcesses([{}])));
    }
    const ofFirst = found.filter(({ num, generation }) => num === 0 && generation === 1);
    expect(ofFirst.map(({ done }) => done)).toEqual([2, 3, 4, 5]);
  });

  it("replaces a child that holds more than maxRss, between items", async () => {
    const parallel = pooled({ pool: 1, maxRss: 300 * MIB });
    const found = await parallel.mapProcesses(times(8, () => ({ hold: 100 * MIB, spin: 6 })));
    for (const [pid, count] of countBy(found, (each) => each.pid)) {
      expect(count, String(pid)).toBeLessThanOrEqual(3);
    }
    expect(found.at(-1)).toMatchObject({ num: 0 });
    expect(found.at(-1).generation).toBeGreaterThan(2);
    // Too little for any child: each child runs the item that it was started for.
    const tiny = await pooled({ pool: 2, maxRss: 1 }).mapProcesses(times(6, () => ({})));
    expect(tiny.map(({ done }) => done)).toEqual(times(6, () => 1));
  });

  it("fails the item for which setup throws, once per child, also with fibers", async () => {
    const parallel = pooled({ pool: 1, fibers: 3, batch: 2 }, "", "setup");
    const settled = await parallel.mapSettled(times(4, () => ({})));
    expect(settled).toMatchObject(
      times(4, (index) => ({
        status: "rejected",
        reason: { index, cause: { name: "RangeError", message: "from setup" } },
      })),
    );
    const pids = settled.map((each) => (each.status === "rejected" ? each.reason.pid : 0));
    expect(new Set(pids).size).toBe(4);
  });

  it("fails one item if a child is killed in setup, and none with retries", async () => {
    const settle = (retries: number) =>
      pooled({ pool: 1, fibers: 3, batch: 2, retries }, "", "first setup").mapSettled(
        times(6, () => ({})),
      );
    const settled = await settle(0);
    const failed = settled.filter(({ status }) => status === "rejected");
    expect(failed).toMatchObject([
      { reason: { code: "ERR_PARALLEL_CHILD_DIED", signal: "SIGKILL", index: 0 } },
    ]);
    for (const each of [...settled.slice(1), ...(await settle(1))])
      expect(each).toMatchObject({ status: "fulfilled", value: { generation: 2 } });
  });

  it.each([
    ["teardown", "failed: RangeError: from teardown"],
    ["endless teardown", "never settled"],
  ])("warns of a failed end: %s", async (bad, message) => {
    const warnings: (Error & { code?: string })[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", onWarning);
    const parallel = pooled({ pool: 1 }, "", bad);
    expect(await parallel.mapProcesses([{ text: "a" }])).toMatchObject([{ text: "a" }]);
    await parallel.close();
    await vi.waitFor(() => expect(warnings).toHaveLength(1), SOON);
    process.off("warning", onWarning);
    expect(warnings[0]).toMatchObject({ name: "ForkmapWarning", code: "FORKMAP_TEARDOWN" });
    expect(warnings[0]!.message).toMatch(
      new RegExp(`^teardown\\(\\) ${message} \\(num 0, pid \\d+\\)$`),
    );
  });

  it("serves two calls at the same time; the end of one does not affect the other", async () => {
    const parallel = pooled({ pool: 2 });
    await together(parallel, 2);
    const controller = new AbortController();
    const reason = new Error("enough");
    const [aborted, done] = await Promise.all([
      rejection(
        parallel.mapProcesses([{ ms: 60_000 }], {
          signal: controller.signal,
          onStart: () => void setTimeout(() => controller.abort(reason), 50),
        }),
      ),
      parallel.mapProcesses(times(50, (index) => ({ ms: 3, text: String(index) }))),
    ]);
    expect(aborted).toBe(reason);
    expect(done.map(({ text }) => text)).toEqual(times(50, String));
    const both = await Promise.all([
      parallel.mapProcesses(times(500, (index) => ({ text: `a${index}` }))),
      parallel.mapProcesses(times(500, (index) => ({ text: `b${index}` }))),
    ]);
    for (const [which, found] of both.entries()) {
      expect(found.map(({ text }) => text)).toEqual(times(500, (i) => `${"ab"[which]}${i}`));
    }
  });

  it("close() lets calls finish, destroy() does not; both may be called repeatedly", async () => {
    const drained = pooled({ pool: 2 });
    const call = drained.mapProcesses(times(20, () => ({ ms: 5 })));
    const closing = [drained.close(), drained.close()];
    expect(await call).toHaveLength(20);
    await Promise.all(closing);
    expect(await rejection(drained.mapProcesses([{}]))).toBeInstanceOf(ClosedError);
    expect(() => drained.stream([{}])).toThrow(ClosedError);

    const destroyed = pooled({ pool: 2, forceKillAfterDelay: 100 });
    await destroyed.mapProcesses(times(10, () => ({})));
    const reason = new Error("away with it");
    const lost = rejection(destroyed.mapProcesses(times(4, () => ({ fate: "loops" }))));
    await vi.waitFor(() => expect(destroyed.stats().calls).toBe(1), SOON);
    await Promise.all([destroyed.destroy(reason), destroyed.destroy(), destroyed.close()]);
    expect(await lost).toBe(reason);
    expect(scratchDirectories()).toEqual([]);
  });

  it("does not keep its program alive, but the program finishes work that only the pool keeps going", async () => {
    const end = await program("pools.mjs", [startMethod]).ended;
    expect(end.stdout.split("\n")).toEqual([
      "3",
      "3",
      "fulfilled rejected fulfilled",
      "0",
      "0",
      "6",
      "6",
      "end",
      "",
    ]);
    expect(end.code).toBe(0);
    await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
  });

  it("leaves nothing behind when its program is killed", async () => {
    const root = temporaryDirectory();
    const started = program("pool-killed.mjs", [startMethod, root]);
    await vi.waitFor(() => expect(readdirSync(root)).toContain("begun"), SOON);
    expect(readdirSync(root).length).toBeGreaterThan(1);
    started.kill("SIGKILL");
    await started.ended;
    await vi.waitFor(() => expect(descendants()).toEqual([]), PROMISED);
    await vi.waitFor(() => expect(readdirSync(root)).toEqual(["begun"]), PROMISED);
  });

  it("works if the path of its scratch directory is too long for a socket", async () => {
    const scratchRoot = path.join(temporaryDirectory(), "ä".repeat(100));
    mkdirSync(scratchRoot);
    const parallel = pooled({ pool: 2, scratchRoot });
    expect(await parallel.mapProcesses(times(20, () => ({})))).toHaveLength(20);
    await parallel.close();
    expect(readdirSync(scratchRoot)).toEqual([]);
  });

  it("awaits hooks, and passes them its children's facts", async () => {
    const told: unknown[] = [];
    const found = await pooled({ pool: 1 }).mapProcesses(
      times(5, (i) => ({ text: String(i) })),
      {
        onStart: async (_item: Told, index: number) => void told.push(`start ${index}`),
        onFinish: async (item: Told, index: number, result: Told, info: Told) => {
          expect([result.text, info.pid, info.num]).toEqual([item.text, result.pid, 0]);
          expect(info.duration).toBeGreaterThanOrEqual(0);
          told.push(`finish ${index}`);
        },
        finishInOrder: true,
      },
    );
    expect(found).toHaveLength(5);
    expect(told.filter((each) => String(each).startsWith("finish"))).toEqual(
      times(5, (i) => `finish ${i}`),
    );
    for (let i = 0; i < 5; i += 1)
      expect(told.indexOf(`start ${i}`)).toBeLessThan(told.indexOf(`finish ${i}`));
  });

  it("can shrink and grow, also while it works", async () => {
    const parallel = pooled({ pool: 3 });
    let made: () => void;
    const isSmaller = new Promise<void>((resolve) => (made = resolve));
    async function* items() {
      for (let i = 0; i < 60; i += 1) {
        if (i === 30) await isSmaller;
        yield { ms: 4 };
      }
    }
    const found = (await parallel.mapProcesses(items(), {
      onFinish: (_item: Told, index: number) => {
        if (index === 10) parallel.concurrency = 1;
        if (index === 10) made();
        if (index === 30) parallel.concurrency = 2;
      },
    })) as Told[];
    expect(found).toHaveLength(60);
    expect(new Set(found.slice(-10).map(({ num }) => num))).not.toContain(2);
    expect(await parallel.mapProcesses(times(4, () => ({})))).toHaveLength(4);
  });
});

it("`pool: true` means as many slots as processors", () => {
  expect(opened(new Echo(), { pool: true }).concurrency).toBe(processorCount());
});

it("forked children fail no item when they are killed while they start, or with their fork server", async () => {
  const parallel = opened(new Pooled(), { startMethod: "fork", pool: 2 });
  const [{ pid }] = (await parallel.mapProcesses([{}])) as Told[];
  const [server] = parallel.stats().pids;
  process.kill(server!, "SIGKILL");
  await vi.waitFor(() => expect(isAlive(pid)).toBe(false), SOON);
  const settled = await parallel.mapSettled(
    times(200, () => ({ ms: 1 })),
    {
      onFinish: (_item, index) => {
        if (index === 100) process.kill(parallel.stats().pids[0]!, "SIGKILL");
      },
    },
  );
  const failed = settled.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
  // At most the items that ran when the second fork server was killed.
  expect(failed.length).toBeLessThanOrEqual(2);
  for (const { reason } of failed) {
    expect(reason).toBeInstanceOf(DeadChildError);
    expect(reason.message).toContain("was lost: the fork server ended by SIGKILL");
  }
  expect(values(settled)).toHaveLength(200 - failed.length);
});

it("spawned children do not need koffi: without it their ledger is a file", async () => {
  const parallel = opened(new Pooled(), {
    startMethod: "spawn",
    pool: 2,
    execArgv: ["--require", fixture("no-koffi.cjs")],
  });
  const texts = times(3000, (i) => (i % 100 === 0 ? "é\0😀\ud800" : "x").repeat(i % 700));
  const items = texts.map((text, i) => (i === 1500 ? { fate: "SIGKILL" } : { text }));
  const settled = await parallel.mapSettled(items);
  expect(settled[1500]).toMatchObject({ status: "rejected", reason: { index: 1500 } });
  expect(values(settled).map(({ text }) => text)).toEqual(texts.toSpliced(1500, 1));
});

it("children that cannot start fail their items one by one, and nothing hangs", async () => {
  const parallel = opened(new Pooled(), {
    startMethod: "spawn",
    pool: 2,
    execArgv: ["--no-such-option"],
  });
  const settled = await parallel.mapSettled(times(4, () => ({})));
  expect(settled).toMatchObject(
    times(4, (index) => ({ status: "rejected", reason: { index, exitCode: 9 } })),
  );
});
