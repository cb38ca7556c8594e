/** 100,000 items that cost next to nothing, through two slots: this measures the overhead of a pool. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as harness from "./harness.mjs";
import { processPools } from "./peers.mjs";

const { atLeast, atMost, ratio, target } = harness;
const COUNT = harness.size(100_000, 1_000);
/** Maps are repeated for this long: a single one of the fastest takes 30 ms. */
const LEAST_MS = harness.size(250, 0);
const MEBIBYTE = 2 ** 20;
const OURS = "forkmap pool";
const STREAM = "forkmap stream";
const STREAM_MEMORY = "forkmap stream, memory";
const RAW = "raw pipes";
const PYTHON = "Python multiprocessing";
const PROCESS_POOLS = Object.keys(processPools);
const NAMES = [
  OURS,
  "forkmap pool, spawn",
  "forkmap pool, fibers",
  "forkmap threads",
  STREAM,
  RAW,
  "raw pipes, blocking",
  PYTHON,
  "multiprocess-pool",
  ...PROCESS_POOLS,
  "piscina, threads",
];
const run = promisify(execFile);

harness.introduce("throughput");
/** A contender whose `run` returns the figures that the program has printed. */
const figures = await harness.race(
  [...NAMES, STREAM_MEMORY].map((name) => (name === PYTHON ? python() : program(name))),
);
report();

/** Each turn is a separate program, so that a contender does not have another's garbage and its memory can be measured. */
function program(name) {
  return {
    name,
    async run() {
      const { stdout } = await run(process.execPath, [
        path("throughput-program.mjs"),
        name,
        String(COUNT),
        String(LEAST_MS),
      ]);
      return JSON.parse(stdout);
    },
  };
}

function python() {
  return {
    name: PYTHON,
    async open() {
      try {
        await run("python3", ["-c", "import multiprocessing"]);
      } catch {
        throw new harness.Skip("python3 cannot run `import multiprocessing`");
      }
    },
    async run() {
      const { stdout } = await run("python3", [
        path("pool-map.py"),
        String(COUNT),
        String(LEAST_MS),
      ]);
      return { ms: Number(stdout), peakBytes: undefined };
    },
  };
}

function path(name) {
  return fileURLToPath(new URL(`workers/${name}`, import.meta.url));
}

function report() {
  harness.heading(`${COUNT} items \`n => String(n * 2)\`, 2 slots`);
  harness.table(
    [
      "",
      "ms",
      "min - max",
      "thousand items/s",
      `items/s / ${RAW}`,
      `items/s / ${OURS}`,
      "peak RSS of the parent, MiB",
    ],
    NAMES.filter((name) => figures.has(name)).map((name) => {
      const ms = of(name, "ms");
      return [
        name,
        harness.digits(harness.median(ms)),
        harness.span(ms),
        harness.digits(COUNT / harness.median(ms)),
        harness.times(ratio(of(RAW, "ms"), ms)),
        harness.times(ratio(of(OURS, "ms"), ms)),
        name === PYTHON
          ? ""
          : harness.digits(harness.median(of(name, "peakBytes").map((bytes) => bytes / MEBIBYTE))),
      ];
    }),
  );
  const memory = figures.get(STREAM_MEMORY);
  if (memory) {
    harness.heading(`${COUNT * 10} items through stream(): memory of the parent in MiB`);
    harness.table(
      ["", "first tenth", "last tenth", "last / first"],
      [memoryRow("held on V8's heap at its end", "held"), memoryRow("peak RSS within it", "rss")],
    );
  }

  harness.heading("targets");
  const faster = (name, ours = OURS) => ratio(of(name, "ms"), of(ours, "ms"));
  target(`${OURS}: at least 0.8x the items/s of ${RAW}`, faster(RAW), atLeast(0.8));
  const best = fastest(PROCESS_POOLS);
  target(
    `${OURS}: at least 20x the items/s of the best of ${PROCESS_POOLS.join(", ")} (${best})`,
    faster(best),
    atLeast(20),
  );
  target(
    `${OURS}: at least 8x the items/s of multiprocess-pool`,
    faster("multiprocess-pool"),
    atLeast(8),
  );
  target(`${OURS}: at least 15x the items/s of piscina`, faster("piscina, threads"), atLeast(15));
  target(`${OURS}: no slower than ${PYTHON} (its time / ours)`, faster(PYTHON), atLeast(1));
  target(
    `fibers and an async process: at least half the items/s of ${OURS}`,
    faster(OURS, "forkmap pool, fibers"),
    atLeast(0.5),
  );
  target(
    `${OURS}: peak RSS of the parent below 2x that of ${RAW}`,
    ratio(of(OURS, "peakBytes"), of(RAW, "peakBytes")),
    (value) => value < 2,
  );
  target(`${STREAM}: at least 0.8x the items/s of ${RAW}`, faster(RAW, STREAM), atLeast(0.8));
  target(
    `${STREAM}: held on V8's heap flat, at most 1.1x in the last tenth`,
    ratio(of(STREAM_MEMORY, "heldLast"), of(STREAM_MEMORY, "heldFirst")),
    atMost(1.1),
  );
  target(
    `${STREAM}: RSS flat, at most 1.1x in the last tenth`,
    ratio(of(STREAM_MEMORY, "rssLast"), of(STREAM_MEMORY, "rssFirst")),
    atMost(1.1),
  );
}

function memoryRow(title, what) {
  const [first, last] = ["First", "Last"].map((tenth) => of(STREAM_MEMORY, `${what}${tenth}`));
  return [
    title,
    ...[first, last].map((bytes) => harness.digits(harness.median(bytes) / MEBIBYTE)),
    harness.times(ratio(last, first)),
  ];
}

function fastest(names) {
  return names
    .filter((name) => figures.has(name))
    .toSorted((a, b) => harness.median(of(a, "ms")) - harness.median(of(b, "ms")))[0];
}

/** One figure of each round. */
function of(name, figure) {
  return figures.get(name)?.map((each) => each[figure]);
}
