/** Many callers of `run`: each has its own result, in the order of arrival, whatever others do; and nothing piles up. */
import { mkdirSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import type { Remains } from "../support/remains.js";
import { fixture, runScript } from "../support/run-script.js";
import { temporaryDirectory } from "../support/temporary.js";

interface Report {
  readonly asked: number;
  readonly wrong: unknown[];
  /** Bytes in use after a garbage collection, after each tenth of the items; at the last one the callers end. */
  readonly heap: number[];
  readonly killed?: number;
  readonly left: { readonly calls: number; readonly waiting: number };
  readonly items: { readonly succeeded: number; readonly failed: number };
  /** Items whose `process` has run, and how often it has. */
  readonly begun: number;
  readonly attempts: number;
  /** How many items that had been asked for earlier had not begun when an item began, at most. */
  readonly overtaken: number;
  readonly before: Remains;
  readonly after: Remains;
}

interface AbortReport extends Pick<Report, "wrong" | "left" | "before" | "after"> {
  readonly aborted: number;
  /** Of abort signals; the greatest number of the signals that one call has for itself. */
  readonly listeners: Record<"own" | "afterAll" | "during" | "afterAbort", number>;
  readonly ends: string[];
  readonly last: string;
}

/** A million, by hand: FORKMAP_RUN_ITEMS=1000000. Fewer, when the run is one of several (.ci/test-on-node). */
const ITEMS = Number(
  process.env["FORKMAP_RUN_ITEMS"] ??
    (process.env["FORKMAP_CHAOS_ROUNDS"] === undefined ? 100_000 : 10_000),
);
const SEED = Number(process.env["FORKMAP_FUZZ_SEED"] ?? Date.now() % 1_000_000);
const CALLERS = 1000;
const SLOTS = 2;
/** Twenty bytes kept for each of 100,000 items would exceed this. */
const HEAP_ALLOWANCE_BYTES = 2 * 1024 * 1024;

test.each([
  // A line for each item takes ten times as long.
  { batch: 1, items: ITEMS / 10, ms: 0, kills: "no kills" },
  { batch: 16, items: ITEMS, ms: 0, kills: "no kills" },
  { batch: "auto", items: ITEMS, ms: 0, kills: "no kills" },
  { batch: 16, items: ITEMS / 10, ms: 50, kills: "a child killed every 50 ms" },
  { batch: "auto", items: ITEMS, ms: 50, kills: "a child killed every 50 ms" },
])(
  `$items items of ${CALLERS} callers, batch: $batch, $kills`,
  { timeout: 240_000 * Math.max(1, ITEMS / 100_000) },
  async ({ batch, items, ms }) => {
    const directory = temporaryDirectory();
    const [scratch, begins] = ["scratch", "begins"].map((name) => path.join(directory, name));
    for (const each of [scratch!, begins!]) mkdirSync(each);
    const { stdout, stderr, code } = await runScript(fixture("callers-run.mjs"), {
      args: [...[CALLERS, items, batch, ms].map(String), scratch!, begins!],
      execArgv: ["--expose-gc", "--max-semi-space-size=1"],
      env: { FORKMAP_TEST_MARK: `run-${process.pid}-${batch}-${ms}` },
    });
    expect(code, stderr.slice(-2000)).toBe(0);
    const report = JSON.parse(stdout) as Report;
    const { asked, wrong, heap, killed, begun, attempts, overtaken, before, after } = report;
    expect(wrong).toEqual([]);
    expect(begun).toBe(asked);
    expect(report.items).toEqual({ succeeded: asked, failed: 0 });
    expect(report.left).toEqual({ calls: 0, waiting: 0 });
    expect(heap.at(-2)! - heap[1]!).toBeLessThan(HEAP_ALLOWANCE_BYTES);
    expect(after).toEqual(before);
    expect(after).toMatchObject({ processes: [], scratch: [] });
    // A slot holds one batch that it runs and one ahead, none with `batch: 1`; one of these items is the one that begins.
    if (typeof batch === "number")
      expect(overtaken).toBeLessThan(SLOTS * (batch === 1 ? 1 : 2 * batch));
    if (ms === 0) return expect(attempts).toBe(asked);
    expect(killed).toBeGreaterThan(0);
    // A kill costs the item that runs, and only that.
    expect(attempts).toBeLessThanOrEqual(asked + killed!);
  },
);

test(
  `signals that abort half of the calls (FORKMAP_FUZZ_SEED=${SEED})`,
  { timeout: 240_000 },
  async () => {
    const scratch = temporaryDirectory();
    const { stdout, stderr, code } = await runScript(fixture("aborts-run.mjs"), {
      args: ["10000", String(SEED), scratch],
      env: { FORKMAP_TEST_MARK: `run-aborts-${process.pid}` },
    });
    expect(code, stderr.slice(-2000)).toBe(0);
    const report = JSON.parse(stdout) as AbortReport;
    expect(report).toMatchObject({
      wrong: [],
      listeners: { own: 0, afterAll: 0, during: 1, afterAbort: 0 },
      ends: ["all of them"],
      left: { calls: 0, waiting: 0, oldest: 0 },
      last: "42",
    });
    expect(report.aborted).toBeGreaterThan(100);
    expect(report.after).toEqual(report.before);
    expect(report.after).toMatchObject({ processes: [], scratch: [] });
  },
);
