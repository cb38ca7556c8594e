/**
 * The time from `new Parallel` to the first result, of the second call and of later ones; then the time of a pool from the
 * import of its library to its first result, and until all its slots are at work. A fresh program each time.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as harness from "./harness.mjs";

const NAMES = [
  "forkmap fork",
  "forkmap spawn",
  "child_process.fork",
  "tinypool, isolateWorkers",
  "worker_threads",
];
const COLUMNS = ["first", "second", "later"];
const PROGRAM = fileURLToPath(new URL("workers/start-program.mjs", import.meta.url));
const OURS = "forkmap pool";
const POOL_NAMES = [
  OURS,
  "forkmap pool, spawn",
  "tinypool",
  "tinypool, threads",
  "piscina, threads",
];
const POOL_PROGRAM = fileURLToPath(new URL("workers/pool-start-program.mjs", import.meta.url));
const SLOTS = harness.size([1, 8, 32], [1, 4]);
const [FEWEST, MOST] = [SLOTS[0], SLOTS.at(-1)];
/**
 * An item runs for this time multiplied by the number of slots, so that all items have begun before the first ends: a Node
 * process takes 25 ms of two idle processors to start, and six times as long on busy ones.
 */
const HOLD_MS_PER_SLOT = 200;
/** The two times measured for a pool, and how long the items run. */
const POOL_FIGURES = {
  "first result": { figure: "first", hold: () => 0 },
  "all slots at work": { figure: "begun", hold: (slots) => slots * HOLD_MS_PER_SLOT },
};
const run = promisify(execFile);

harness.introduce("start");
/** A contender whose `run` returns the ms that the program has printed, by column. */
const figures = await harness.race([
  ...NAMES.map((name) => ({
    name,
    async run() {
      const { stdout } = await run(process.execPath, [PROGRAM, name]);
      return JSON.parse(stdout);
    },
  })),
  ...Object.keys(POOL_FIGURES).flatMap((what) =>
    SLOTS.flatMap((slots) => POOL_NAMES.map((name) => poolContender(what, slots, name))),
  ),
]);
reportCalls();
reportPools();

function poolContender(what, slots, name) {
  const { figure, hold } = POOL_FIGURES[what];
  return {
    group: poolGroup(what, slots),
    name,
    async run() {
      const args = [POOL_PROGRAM, name, String(slots), String(hold(slots))];
      const { stdout } = await run(process.execPath, args);
      return JSON.parse(stdout)[figure];
    },
  };
}

function reportCalls() {
  const racing = NAMES.filter((name) => figures.has(name));
  if (racing.length === 0) return;
  harness.heading(
    "calls of one item, in ms: the first (with whatever must be started), the second, the median of ten more",
  );
  harness.table(
    ["", ...COLUMNS.flatMap((column) => [column, "min - max"]), "later / child_process.fork"],
    racing.map((name) => {
      return [
        name,
        ...COLUMNS.flatMap((column) => [
          harness.digits(harness.median(of(name, column))),
          harness.span(of(name, column)),
        ]),
        harness.times(harness.ratio(of(name, "later"), of("child_process.fork", "later"))),
      ];
    }),
  );
}

function reportPools() {
  for (const what of Object.keys(POOL_FIGURES)) {
    const racing = POOL_NAMES.filter((name) => ofPool(what, FEWEST, name));
    if (racing.length === 0) continue;
    harness.heading(`a pool, from the import of its library: ${what}, in ms`);
    harness.table(
      ["", ...SLOTS.flatMap((slots) => [`${slots} slots`, "min - max"])],
      racing.map((name) => [
        name,
        ...SLOTS.flatMap((slots) => {
          const ms = ofPool(what, slots, name);
          return [harness.digits(harness.median(ms)), harness.span(ms)];
        }),
      ]),
    );
  }

  harness.heading("targets");
  for (const slots of SLOTS) {
    const [ours, theirs] = [OURS, "tinypool"].map((name) => ofPool("first result", slots, name));
    harness.target(
      `${OURS}, first result of ${slots} slots: no later than tinypool's (its time / ours)`,
      ours && theirs && harness.ratio(theirs, ours),
      harness.atLeast(1),
    );
  }
  for (const what of Object.keys(POOL_FIGURES)) {
    const [few, most] = [FEWEST, MOST].map((slots) => ofPool(what, slots, OURS));
    harness.target(
      `${OURS}, ${what}: ${MOST} slots within 100 ms of ${FEWEST} slot`,
      few && harness.median(most.map((ms, round) => ms - few[round])),
      harness.atMost(100),
      (ms) => `${harness.digits(ms)} ms more`,
    );
  }
}

function poolGroup(what, slots) {
  return `${what}, ${slots} slots`;
}

function ofPool(what, slots, name) {
  return figures.get(harness.key({ group: poolGroup(what, slots), name }));
}

/** The ms of each round. */
function of(name, column) {
  return figures.get(name)?.map((each) => each[column]);
}
