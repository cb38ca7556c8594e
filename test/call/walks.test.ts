/**
 * Programs that go random walks: calls of every verb, with every way to stop them, one after the other and some at once. Nothing
 * else keeps such a program alive, and it has to get to its last line and end there.
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
  it(`goes to its last line (FORKMAP_WALK_SEED=${SEED})`, { timeout: 30_000 * COUNT }, async () => {
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
  it.each(["mapProcesses", "mapThreads"])("is there for its next one: %s", async (verb) => {
    for (let round = 0; round < 3; round += 1) {
      const end = await program(name, [verb]).ended;
      expect(end).toMatchObject({ code: 0, stdout: "failed\n1,3\nsaved\n" });
    }
  });
});

it("a program is not kept by a stream that its reader has left without a word", async () => {
  const end = await program("leaves-stream.mjs").ended;
  expect(end).toMatchObject({ code: 0, stdout: "0\n" });
});

it.each(["hook", "generator"])(
  "a program stays in a call that waits for its %s, which only a timer that does not hold it will settle",
  async (what) => {
    const end = await program("waits-unheld.mjs", [what]).ended;
    expect(end).toMatchObject({ code: 0, stdout: "0,1\n" });
  },
);
