/** Whatever items do to their children, each outcome is correct and nothing is left behind. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Remains } from "../support/remains.js";
import { fixture, runScript } from "../support/run-script.js";

interface Report {
  readonly wrong: unknown[];
  readonly seen: Record<string, number>;
  readonly before: Remains;
  readonly after: Remains;
}

const ROUNDS = Number(process.env["FORKMAP_CHAOS_ROUNDS"] ?? 1);
const ITEMS = 1000;

describe("items that throw, exit, are killed, loop forever and run out of memory", () => {
  let scratchRoot: string;

  beforeEach(() => {
    scratchRoot = mkdtempSync(path.join(tmpdir(), "chaos-"));
  });
  afterEach(() => {
    rmSync(scratchRoot, { recursive: true, force: true });
  });

  async function chaos(
    startMethod: string,
    items: number,
    rounds: number,
    concurrency: number,
  ): Promise<Report> {
    const { stdout, stderr, code } = await runScript(fixture("chaos-run.mjs"), {
      args: [startMethod, ...[items, rounds, concurrency].map(String), scratchRoot],
      env: { FORKMAP_TEST_MARK: `chaos-${process.pid}-${startMethod}` },
    });
    expect(code, stderr.slice(-2000)).toBe(0);
    return JSON.parse(stdout) as Report;
  }

  test(`forked, ${ITEMS} items, rounds: ${ROUNDS}`, { timeout: 300_000 }, async () => {
    const { wrong, seen, before, after } = await chaos("fork", ITEMS, ROUNDS, 64);
    const tenth = (ITEMS / 10) * ROUNDS;
    expect(wrong).toEqual([]);
    expect(seen).toEqual({
      throws: tenth,
      exits: tenth,
      killed: tenth,
      loops: tenth,
      hoards: tenth,
      succeeds: 5 * tenth,
    });
    expect(after).toEqual(before);
    expect(after.processes).toEqual([]);
    expect(after.scratch).toEqual([]);
  });

  test("spawned, a hundred items, at most two rounds", { timeout: 240_000 }, async () => {
    const rounds = Math.min(ROUNDS, 2);
    const { wrong, seen, before, after } = await chaos("spawn", 100, rounds, 8);
    expect(wrong).toEqual([]);
    expect(seen).toEqual({
      throws: 10 * rounds,
      exits: 10 * rounds,
      killed: 10 * rounds,
      loops: 10 * rounds,
      hoards: 10 * rounds,
      succeeds: 50 * rounds,
    });
    expect(after).toEqual(before);
    expect(after.processes).toEqual([]);
    expect(after.scratch).toEqual([]);
  });
});
