/** The children of a pool are killed at random: this fails the item that ran, or with retries none. */
import { mkdirSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { fixture, runScript } from "../support/run-script.js";
import { temporaryDirectory } from "../support/temporary.js";

interface Report {
  readonly rounds: number;
  /** Items with a wrong result, or with an error that cannot be theirs. */
  readonly wrong: unknown[];
  readonly failed: number;
  /** Those of the failed items whose `process` had recorded that it ran. */
  readonly marked: number;
  readonly killed: number;
  readonly processes: string[];
  readonly scratch: string[];
}

// Ten, unless the run is one of several (.ci/test-on-node).
const ROUNDS = Number(process.env["FORKMAP_CHAOS_ROUNDS"] ?? 10);

test.each([
  { startMethod: "fork", items: 100_000, rounds: Math.ceil(ROUNDS / 5), ms: 50, retries: 0 },
  { startMethod: "fork", items: 100_000, rounds: Math.ceil(ROUNDS / 5), ms: 50, retries: 1000 },
  // A spawned child takes longer to start than a forked one; a fast machine would finish before the first kill.
  { startMethod: "spawn", items: 100_000, rounds: 3 * Math.ceil(ROUNDS / 10), ms: 200, retries: 0 },
])(
  "$items items, children by $startMethod killed every $ms ms, $retries retries",
  { timeout: 120_000 },
  async ({ startMethod, items, rounds, ms, retries }) => {
    const directory = temporaryDirectory();
    const [scratch, marks] = ["scratch", "marks"].map((name) => path.join(directory, name));
    for (const each of [scratch!, marks!]) mkdirSync(each);
    const { stdout, stderr, code } = await runScript(fixture("pool-chaos-run.mjs"), {
      args: [startMethod, ...[items, rounds, ms, retries].map(String), scratch!, marks!],
      env: { FORKMAP_TEST_MARK: `pool-chaos-${process.pid}-${startMethod}-${retries}` },
    });
    expect(code, stderr.slice(-2000)).toBe(0);
    const report = JSON.parse(stdout) as Report;
    expect(report).toMatchObject({
      wrong: [],
      processes: [],
      scratch: [],
    });
    expect(report.rounds).toBeGreaterThanOrEqual(rounds);
    expect(report.killed).toBeGreaterThan(0);
    if (retries > 0) return expect(report.failed).toBe(0);
    expect(report.failed).toBeLessThanOrEqual(report.killed);
    // The others were in `setup`, or between two items.
    if (report.failed > 20) expect(report.marked).toBeGreaterThan(report.failed / 4);
  },
);
