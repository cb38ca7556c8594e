/**
 * Items that write random bytes and false messages into everything between child and parent: its channel, the ledgers of all
 * slots, the files of its results. No program crashes or waits forever, and no item has the result of another.
 */
import { expect, test } from "vitest";
import { program } from "../support/program.js";
import { temporaryDirectory } from "../support/temporary.js";

/** Number of programs per mode. */
const COUNT = Number(process.env["FORKMAP_FUZZ_CHILDREN"] ?? 1);
const SEED = Number(process.env["FORKMAP_FUZZ_SEED"] ?? Date.now() % 1_000_000);

test.each(["fork", "fork pool", "spawn", "spawn pool", "hybrid", "threads"])(
  `a program with children by %s (FORKMAP_FUZZ_SEED=${SEED})`,
  { timeout: 60_000 * COUNT },
  async (mode) => {
    for (let seed = SEED; seed < SEED + COUNT; seed += 1) {
      const directory = temporaryDirectory();
      const end = await program("corrupted.mjs", [mode, String(seed), directory]).ended;
      expect(end.code, `corrupted.mjs "${mode}" ${seed}: ${end.stderr.slice(-3000)}`).toBe(0);
      const { wrong, fulfilled } = JSON.parse(end.stdout) as Told;
      expect(wrong).toEqual([]);
      expect(fulfilled).toBeGreaterThan(0);
    }
  },
);

interface Told {
  readonly fulfilled: number;
  /** An item's index, and the index of the item whose result it has. */
  readonly wrong: readonly (readonly [number, number])[];
}
