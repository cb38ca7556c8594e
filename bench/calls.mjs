/**
 * Calls of one item, one after another and 50 at a time, beside the child that such a call runs: one more item in a long call
 * that runs one child at a time.
 */
import { Parallel } from "forkmap";
import * as harness from "./harness.mjs";
import { Work } from "./workers/forkmap.mjs";

const AT_ONCE = harness.size(50, 3);
/** By kind: the options, and how many calls one turn makes. */
const KINDS = {
  "forked child per item": { options: { startMethod: "fork" }, count: harness.size(300, 5) },
  "spawned child per item": { options: { startMethod: "spawn" }, count: harness.size(10, 2) },
  "warm pool of 2": { options: { pool: 2 }, count: harness.size(2000, 10) },
};
const ONE_BY_ONE = "calls, one after another";
const LONG = "items of a long call";
const TOGETHER = `calls, ${AT_ONCE} at a time`;
const MOST_BESIDE_CHILD_MS = 1;
/** ms by round, of the calls of a turn: their medians and their 99th percentiles. */
const medians = new Map();
const slowest = new Map();

harness.introduce("calls");
const figures = await harness.race(
  Object.entries(KINDS).flatMap(([kind, how]) => contenders(kind, how)),
);
report();

function contenders(group, { options, count }) {
  const parallel = new Parallel(Object.assign(new Work(), { kind: "returns at once" }), options);
  const indexes = Array.from({ length: count }, (_, i) => i);
  const call = async (item) => {
    const start = performance.now();
    const results = await parallel.mapProcesses([item]);
    const ms = performance.now() - start;
    harness.expectSame(results, [String(item)], group);
    return ms;
  };
  const oneByOne = async () => {
    const times = [];
    for (const item of indexes) times.push(await call(item));
    return times.toSorted((a, b) => a - b);
  };
  return [
    {
      group,
      name: ONE_BY_ONE,
      open: () => parallel.ready(),
      warm: oneByOne,
      async run() {
        const times = await oneByOne();
        add(medians, group, harness.median(times));
        add(slowest, group, times[Math.floor(times.length * 0.99)]);
        return times.reduce((sum, ms) => sum + ms) / count;
      },
    },
    {
      group,
      name: LONG,
      async run() {
        const start = performance.now();
        const results = await parallel.mapProcesses(indexes, { concurrency: 1, batch: 1 });
        harness.expectSame(results, indexes.map(String), group);
        return (performance.now() - start) / count;
      },
    },
    {
      group,
      name: TOGETHER,
      async run() {
        const start = performance.now();
        await Promise.all(indexes.slice(0, AT_ONCE).map(call));
        return (performance.now() - start) / Math.min(count, AT_ONCE);
      },
      close: () => parallel.close(),
    },
  ];
}

function add(map, group, ms) {
  if (!map.has(group)) map.set(group, []);
  map.get(group).push(ms);
}

function report() {
  const groups = Object.keys(KINDS).filter((group) =>
    figures.has(harness.key({ group, name: ONE_BY_ONE })),
  );
  if (groups.length === 0) return;
  const of = (group, name) => figures.get(harness.key({ group, name }));
  const shown = (values) => (values ? harness.digits(harness.median(values)) : "");
  /** The median of the differences within each round. */
  const beside = (group) => {
    const long = of(group, LONG);
    return long && harness.median(of(group, ONE_BY_ONE).map((ms, round) => ms - long[round]));
  };
  harness.heading(`calls of one item that returns at once, in ms`);
  harness.table(
    [
      "",
      "mean",
      "median",
      "99 of 100 below",
      "item of a long call",
      "call - item",
      `a call, ${AT_ONCE} at a time`,
    ],
    groups.map((group) => [
      group,
      shown(of(group, ONE_BY_ONE)),
      shown(medians.get(group)),
      shown(slowest.get(group)),
      shown(of(group, LONG)),
      beside(group) === undefined ? "" : harness.digits(beside(group)),
      shown(of(group, TOGETHER)),
    ]),
  );
  harness.heading("targets");
  for (const group of groups) {
    harness.target(
      `${group}: a call takes at most ${MOST_BESIDE_CHILD_MS} ms more than one more item in a long call`,
      beside(group),
      harness.atMost(MOST_BESIDE_CHILD_MS),
      (ms) => `${harness.digits(ms)} ms`,
    );
  }
}
