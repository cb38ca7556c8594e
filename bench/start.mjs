/** Time from `new Parallel` to the first result, of the second call, and of later ones; a fresh program each time. */
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
const run = promisify(execFile);

harness.introduce("start");
/** Its `run` gives the ms that the program has printed, by column. */
const figures = await harness.race(
  NAMES.map((name) => ({
    name,
    async run() {
      const { stdout } = await run(process.execPath, [PROGRAM, name]);
      return JSON.parse(stdout);
    },
  })),
);

harness.heading(
  "calls of one item, in ms: the first (with whatever must be started), the second, the median of ten more",
);
harness.table(
  ["", ...COLUMNS.flatMap((column) => [column, "min - max"]), "later / child_process.fork"],
  NAMES.filter((name) => figures.has(name)).map((name) => {
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

/** The ms of each round. */
function of(name, column) {
  return figures.get(name)?.map((each) => each[column]);
}
