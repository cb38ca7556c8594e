/**
 * Programs that take random walks: calls of every verb, with every way to stop them, in sequence or concurrently. Only its
 * calls keep such a program alive; it must reach its last line and end there.
 */
import { describe, expect, it } from "vitest";
import { program } from "../support/program.js";

const MODES =
  "fork,fork pool,fork few,spawn,spawn pool,hybrid,spawn hybrid,threads,command,inline".split(",");
const STEPS = 10;
/** Programs of each mode. */
const COUNT = Number(process.env["FORKMAP_WALKS"] ?? 1);
const SEED = Number(process.env["FORKMAP_WALK_SEED"] ?? Date.now() % 1_000_000);

describe.each([...MODES.entries()])("a program, %i, with children by %s", (nth, mode) => {
  it(`reaches its last line (FORKMAP_WALK_SEED=${SEED})`, { timeout: 30_000 * COUNT }, async () => {
    for (let seed = SEED + nth; seed < SEED + nth + COUNT; seed += 1) {
      const name = seed % 2 === 0 ? "walk.mjs" : "walk.cjs";
      const end = await program(name, [mode, String(STEPS), String(seed)]).ended;
      expect(end, `${name} "${mode}" ${STEPS} ${seed}: ${end.stderr}`).toMatchObject({
        code: 0,
        stdout: "to its last line\n",
      });
    }
  });
});

describe.each(["race.cjs", "race.mjs"])("a program (%s) whose call is stopped early", (name) => {
  it.each(["mapProcesses", "mapThreads"])("reaches its next call: %s", async (verb) => {
    for (let round = 0; round < 3; round += 1) {
      const end = await program(name, [verb]).ended;
      expect(end).toMatchObject({ code: 0, stdout: "failed\n1,3\nsaved\n" });
    }
  });
});

it("a stream abandoned by its reader does not keep a program alive", async () => {
  const end = await program("leaves-stream.mjs").ended;
  expect(end).toMatchObject({ code: 0, stdout: "0\n" });
});

it.each(["hook", "generator"])(
  "a program stays alive during a call that waits for its %s, which only an unreferenced timer settles",
  async (what) => {
    const end = await program("waits-unheld.mjs", [what]).ended;
    expect(end).toMatchObject({ code: 0, stdout: "0,1\n" });
  },
);
