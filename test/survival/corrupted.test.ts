/**
 * Items that write random bytes, and lies, into whatever their child speaks through: its channel, the ledgers of all slots, the files
 * of its results. Nobody's program ends of it or waits for ever, and no item has the result of another.
 */
import { expect, test } from "vitest";
import { program } from "../support/program.js";
import { temporaryDirectory } from "../support/temporary.js";

/** Programs of each mode. */
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
  /** Index, and that of the item whose result it has. */
  readonly wrong: readonly (readonly [number, number])[];
}
