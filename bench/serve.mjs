/** Single items from many callers, as in a server: the latency of a call, calls a second, and what a call costs the caller. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import * as harness from "./harness.mjs";

const { atLeast, atMost, ratio, target } = harness;
const OURS = "forkmap run";
const OURS_MAP = "forkmap mapProcesses([x])";
const PROCESS_POOLS = ["tinypool", "jest-worker", "workerpool", "poolifier"];
const PISCINA = "piscina, threads";
const NAMES = [OURS, OURS_MAP, "forkmap runThread", ...PROCESS_POOLS, PISCINA, "tinypool, threads"];
const DOUBLE = "`n => String(n * 2)`";
const BUSY = "1 ms of work";
const JOBS = { double: DOUBLE, busy: BUSY };
/** Callers keep calling for this long. */
const MS = harness.size(500, 20);
const FEW = 64;
const MANY = harness.size([1_000, 10_000], [100]);
/** By group. Two slots need 5 s for 10,000 calls of 1 ms, and do no more of them in a second than of 1,000. */
const CALLERS = { [DOUBLE]: [1, FEW, ...MANY], [BUSY]: [1, FEW, ...MANY.slice(0, 1)] };
const PROGRAM = fileURLToPath(new URL("workers/serve-program.mjs", import.meta.url));
const run = promisify(execFile);

harness.introduce("serve");
/** A contender whose `run` returns the figures that the program has printed, by number of callers. */
const figures = await harness.race(
  Object.entries(JOBS).flatMap(([job, group]) => NAMES.map((name) => program(job, group, name))),
);
for (const group of Object.values(JOBS)) report(group);
harness.heading("targets");
for (const group of Object.values(JOBS)) judge(group);

/** Each turn is a separate program, so that a contender does not have another's garbage. */
function program(job, group, name) {
  return {
    group,
    name,
    async run() {
      const args = [PROGRAM, name, job, String(MS), ...CALLERS[group].map(String)];
      const { stdout } = await run(process.execPath, args);
      return JSON.parse(stdout);
    },
  };
}

function report(group) {
  const racing = NAMES.filter((name) => of(group, name, 1, "rate"));
  if (racing.length === 0) return;
  for (const callers of CALLERS[group]) {
    harness.heading(`${group}, 2 slots, ${inWords(callers)}`);
    const best = bestPool(group, callers, "rate");
    harness.table(
      [
        "",
        "calls/s",
        "min - max",
        `calls/s / ${best}`,
        `calls/s / ${PISCINA}`,
        "p50, us",
        "p99, us",
        "caller's CPU per call, us",
      ],
      racing.map((name) => {
        const rate = of(group, name, callers, "rate");
        const [p50, p99, cpu] = ["p50", "p99", "cpu"].map((figure) =>
          harness.digits(harness.median(of(group, name, callers, figure))),
        );
        return [
          name,
          harness.digits(harness.median(rate)),
          harness.span(rate),
          harness.times(ratio(rate, of(group, best, callers, "rate"))),
          harness.times(ratio(rate, of(group, PISCINA, callers, "rate"))),
          p50,
          p99,
          // A thread is part of the caller's process, and so is the work.
          /thread/i.test(name) ? `${cpu} with the work` : cpu,
        ];
      }),
    );
  }
}

function judge(group) {
  const compare = (callers, figure, other) =>
    ratio(of(group, OURS, callers, figure), of(group, other, callers, figure));
  for (const figure of ["p50", "p99"]) {
    const best = bestPool(group, 1, figure);
    target(
      `${group}, ${inWords(1)}: ${figure} no worse than the best process pool (${best})`,
      compare(1, figure, best),
      atMost(1),
    );
    target(
      `${group}, ${inWords(1)}: ${figure} at most 1.3x that of ${PISCINA}`,
      compare(1, figure, PISCINA),
      atMost(1.3),
    );
  }
  const fastest = bestPool(group, FEW, "rate");
  // Two slots cannot do more than 2,000 calls of 1 ms a second.
  const factor = group === DOUBLE ? 3 : 1;
  target(
    `${group}, ${inWords(FEW)}: at least ${factor}x the calls/s of the best process pool (${fastest})`,
    compare(FEW, "rate", fastest),
    atLeast(factor),
  );
  target(
    `${group}, ${inWords(FEW)}: at least the calls/s of ${PISCINA}`,
    compare(FEW, "rate", PISCINA),
    atLeast(1),
  );
  for (const other of [bestPool(group, FEW, "p99"), PISCINA]) {
    target(
      `${group}, ${inWords(FEW)}: p99 no worse than ${other}`,
      compare(FEW, "p99", other),
      atMost(1),
    );
  }
  for (const callers of CALLERS[group].filter((count) => count > FEW)) {
    const against64 = (figure) =>
      ratio(of(group, OURS, callers, figure), of(group, OURS, FEW, figure));
    target(
      `${group}, ${inWords(callers)}: at least the calls/s of ${inWords(FEW)}`,
      against64("rate"),
      atLeast(1),
    );
    target(
      `${group}, ${inWords(callers)}: caller's CPU per call at most 1.1x that of ${inWords(FEW)}`,
      against64("cpu"),
      atMost(1.1),
    );
  }
  for (const callers of CALLERS[group]) {
    target(
      `${group}, ${inWords(callers)}: ${OURS_MAP} at least 1/1.5 of the calls/s of ${OURS}`,
      ratio(of(group, OURS_MAP, callers, "rate"), of(group, OURS, callers, "rate")),
      atLeast(1 / 1.5),
    );
  }
}

function inWords(callers) {
  return callers === 1 ? "one after another" : `${callers} under way`;
}

/** The process pool whose median is best: the highest rate, or the least of another figure. */
function bestPool(group, callers, figure) {
  const sign = figure === "rate" ? -1 : 1;
  const median = (name) => sign * harness.median(of(group, name, callers, figure));
  return PROCESS_POOLS.filter((name) => of(group, name, callers, figure)).toSorted(
    (a, b) => median(a) - median(b),
  )[0];
}

/** One figure of each round. */
function of(group, name, callers, figure) {
  return figures.get(harness.key({ group, name }))?.map((each) => each[callers][figure]);
}
