import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { JsonWorker, ParallelWorker } from "forkmap";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Does } from "../fixtures/does.mjs";
import { Journaled, JournaledJson } from "../fixtures/journaled.mjs";
import { descendants, isAlive } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { begun, runs } from "../support/run-log.js";
import { temporaryDirectory } from "../support/temporary.js";

const WAYS = [
  { startMethod: "fork", concurrency: 2 },
  { startMethod: "fork", pool: 2 },
  { startMethod: "spawn", pool: 1 },
  { pool: 0 },
] as const;

const FOR_EVER = 120_000;

let journal: string;
let log: string;
let sign: string;
beforeEach(() => {
  const directory = temporaryDirectory();
  journal = path.join(directory, "journal");
  log = path.join(directory, "log");
  sign = path.join(directory, "sign");
  process.env["FORKMAP_TEST_LOG"] = log;
});
afterEach(() => void delete process.env["FORKMAP_TEST_LOG"]);

/** Returns the items that have been run so far. */
function ran(): unknown[] {
  if (!existsSync(log)) return [];
  return readFileSync(log, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((each) => JSON.parse(each) as unknown);
}

describe.each(WAYS)("a journaled call, %j", (options) => {
  it("returns the same bytes when it is run again, and runs nothing", async () => {
    // 5 and 102 are bytes, 7 a text in a file of its own.
    const items = [0, 5, 7, 102, 3, 3];
    for (const worker of [new Journaled(), new JournaledJson()]) {
      const own = path.join(journal, worker.constructor.name);
      const first = await opened<number, unknown>(worker, options).mapProcesses(items, {
        journal: own,
      });
      expect(ran()).toHaveLength(items.length);
      rmSync(log);
      const again = opened<number, unknown>(worker, options);
      const hook = vi.fn();
      const hooks = { onStart: hook, onFinish: hook };
      const second = await again.mapProcesses(items, { journal: own, ...hooks });
      expect(second).toEqual(first);
      expect(JSON.stringify(second)).toBe(JSON.stringify(first));
      expect(second[1]?.constructor).toBe(first[1]?.constructor);
      expect(ran()).toEqual([]);
      expect(hook).not.toHaveBeenCalled();
      expect(again.stats()).toMatchObject({ pids: [], items: { succeeded: 6, failed: 0 } });
      rmSync(log, { force: true });
    }
  });

  it("runs only the missing items of a different input", async () => {
    const parallel = opened(new Journaled(), { ...options, journal });
    const onFinish = vi.fn();
    const first = await parallel.mapProcesses([1, 2, 2]);
    rmSync(log);
    const second = await parallel.mapProcesses([9, 2, 1, 2, 2, 8], {
      onFinish,
      finishInOrder: true,
    });
    expect(ran().toSorted()).toEqual([2, 8, 9]);
    expect(second.slice(1, 4)).toEqual([first[1], first[0], first[1]]);
    expect(onFinish.mock.calls.map(([, index]) => index)).toEqual([0, 4, 5]);
  });

  it("eachProcess records that it is done", async () => {
    const parallel = opened(new Does(), { ...options, journal });
    const items = [
      { log, a: 1 },
      { log, a: 2 },
    ];
    expect(await parallel.eachProcess(items)).toBe(0);
    expect(await parallel.eachProcess(items)).toBe(0);
    expect(runs(log)).toBe(2);
    expect((await rejection(parallel.mapProcesses(items))).code).toBe("ERR_PARALLEL_JOURNAL");
  });

  it("does not record failures", async () => {
    const items = [
      { log, gives: 1 },
      { log, throws: "not yet", unless: sign, gives: 2 },
      { log, gives: 3 },
    ];
    const parallel = opened(new Does(), { ...options, journal, stopOnError: false });
    const error = await rejection(parallel.mapProcesses(items));
    expect(error.results).toEqual([1, undefined, 3]);
    writeFileSync(sign, "");
    expect(await parallel.mapProcesses(items)).toEqual([1, 2, 3]);
    expect(
      begun(log)
        .map(({ index }) => index)
        .toSorted(),
    ).toEqual([0, 1, 1, 2]);
  });

  it("works with dedupe: each of the equal items is known the next time", async () => {
    const item = { log, gives: 1 };
    const parallel = opened(new Does(), { ...options, journal, dedupe: true });
    expect(await parallel.mapProcesses([item, item])).toEqual([1, 1]);
    const onFinish = vi.fn();
    const items = [item, item, item, { log, gives: 2 }, { log, gives: 2 }];
    expect(await parallel.mapProcesses(items, { onFinish })).toEqual([1, 1, 1, 2, 2]);
    expect(onFinish.mock.calls.map(([, index]) => index)).toEqual([3, 4]);
    expect(runs(log)).toBe(2);
  });

  it("streams, and continues where the reader stopped", async () => {
    const parallel = opened(new Does(), { ...options, journal });
    const items = Array.from({ length: 40 }, (_, gives) => ({ log, gives }));
    const seen: unknown[] = [];
    for await (const each of parallel.stream(items, { backpressure: 4 })) {
      if (seen.push(each) === 20) break;
    }
    const before = runs(log);
    const all: unknown[] = [];
    for await (const each of parallel.stream(items, { backpressure: 4 })) all.push(each);
    expect(all).toEqual(items.map(({ gives }) => gives));
    // Those in flight when the reader stopped.
    expect(runs(log) - before).toBeGreaterThanOrEqual(40 - before);
    expect(runs(log)).toBeLessThanOrEqual(44);
    const indexes: unknown[] = [];
    for await (const each of parallel.stream(items, { ordered: false })) indexes.push(each);
    expect(indexes.length).toBe(40);
    expect(runs(log)).toBeLessThanOrEqual(44);
  });

  it("releases its journal after an abort", async () => {
    const parallel = opened(new Does(), { ...options, journal });
    const controller = new AbortController();
    const { signal } = controller;
    const onFinish = () => controller.abort("enough");
    const call = parallel.mapProcesses(
      [
        { log, gives: 1 },
        { log, ms: FOR_EVER },
      ],
      { signal, onFinish },
    );
    expect(await rejection(call)).toBe("enough");
    expect(readdirSync(journal)).toEqual(["journal"]);
    const short = [{ log, gives: 1 }, { gives: 2 }];
    expect(await parallel.mapProcesses(short)).toEqual([1, 2]);
    expect(begun(log).filter(({ index }) => index === 0).length).toBe(1);
  });

  it("answers from known results, and ends the rest", async () => {
    const parallel = opened(new Does(), { ...options, journal });
    const found = { log, gives: 1 };
    expect(await parallel.find([{ gives: 0 }, found])).toBe(found);
    const onStart = () => {};
    for (const more of [{}, { onStart }]) {
      expect(await parallel.some([{ gives: 0 }, found, { ms: FOR_EVER }], more)).toBe(true);
      // An unknown item before the known answer may be the answer itself.
      const first = { log, ms: 20, gives: 2, more: Object.keys(more) };
      expect(await parallel.find([first, found, { ms: FOR_EVER }], more)).toBe(first);
    }
    expect(begun(log).filter(({ index }) => index === 1).length).toBe(1);
    const alive = begun(log).filter(({ pid }) => pid !== process.pid && isAlive(pid));
    if (!("pool" in options)) expect(alive).toEqual([]);
  });
});

describe("a journal is refused", () => {
  /** Returns a class of the same name each time. */
  function worker(version: string | number | undefined, work: (n: number) => string, field = 1) {
    class Same extends ParallelWorker<number> {
      static readonly version = version;
      readonly field = field;
      process(n: number): string {
        return work(n);
      }
    }
    return new Same();
  }
  const run = (any: ParallelWorker<number>) =>
    opened(any, { pool: 0 }).mapProcesses([1], { journal });
  const refusal = { code: "ERR_PARALLEL_JOURNAL", name: "JournalError" };

  it("to another worker", async () => {
    await opened(new Journaled(), { pool: 0 }).mapProcesses([1], { journal });
    const error = await rejection(
      opened(new JournaledJson(), { pool: 0 }).mapProcesses([1], { journal }),
    );
    expect(error).toMatchObject(refusal);
    expect(error.message).toMatch(/"?Journaled"?.*"?JournaledJson"?|JournaledJson.*Journaled/);
    expect(error.message).not.toContain("\n");
  });

  it("to another version of the worker", async () => {
    expect(await run(worker("1.0", (n) => `first ${n}`))).toEqual(["first 1"]);
    expect(await rejection(run(worker("1.1", (n) => `first ${n}`)))).toMatchObject(refusal);
    expect(await rejection(run(worker(undefined, (n) => `first ${n}`)))).toMatchObject(refusal);
    expect(await run(worker("1.0", (n) => `first ${n}`, 2))).toEqual(["first 1"]);
  });

  it("to a worker without a version whose class or fields differ", async () => {
    const none = () => worker(undefined, (n) => `first ${n}`);
    expect(await run(none())).toEqual(["first 1"]);
    expect(await run(none())).toEqual(["first 1"]);
    expect(await rejection(run(worker(undefined, String, 2)))).toMatchObject(refusal);
    class Same extends ParallelWorker<number> {
      readonly field = 1;
      process(n: number): string {
        return `second ${n}`;
      }
    }
    expect(await rejection(run(new Same()))).toMatchObject(refusal);
  });

  it("while another call has it open", async () => {
    const parallel = opened(new Does(), { pool: 0, journal });
    const first = parallel.mapProcesses([{ until: sign, gives: 1 }]);
    const error = await rejection(parallel.mapProcesses([{ gives: 2 }]));
    expect(error).toMatchObject(refusal);
    expect(error.message).toContain("in use by another call in this process");
    writeFileSync(sign, "");
    expect(await first).toEqual([1]);
    expect(await parallel.mapProcesses([{ until: sign, gives: 1 }])).toEqual([1]);
  });

  it("when it is a directory with other files in it", async () => {
    const items = { pulled: 0 };
    function* generate() {
      items.pulled += 1;
      yield {};
    }
    const parallel = opened(new Does(), { startMethod: "fork", journal: path.dirname(journal) });
    writeFileSync(sign, "");
    expect(await rejection(parallel.mapProcesses(generate()))).toMatchObject(refusal);
    expect(items.pulled).toBe(0);
    expect(descendants()).toEqual([]);
    expect(existsSync(sign)).toBe(true);
  });
});

it("a result that cannot be recorded ends the call", async () => {
  class Removes extends JsonWorker<string, string> {
    process(directory: string): string {
      rmSync(directory, { recursive: true });
      return "x".repeat(200_000);
    }
  }
  const call = opened(new Removes(), { pool: 0, journal }).mapProcesses([journal]);
  expect(await rejection(call)).toMatchObject({ code: "ERR_PARALLEL_JOURNAL" });
});
