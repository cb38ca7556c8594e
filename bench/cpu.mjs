/** Items that keep a processor busy, through two slots: how close the time comes to the best possible schedule. */
import { Parallel } from "forkmap";
import * as harness from "./harness.mjs";
import { processPools, threadPools } from "./peers.mjs";
import { Busy } from "./workers/forkmap-pool.mjs";

const { atLeast, atMost, ratio, target } = harness;
const WIDTH = 2;
const OURS = "forkmap pool";
const HALVES = "two processes, half each";
const EVEN = { title: "even", items: Array(harness.size(200, 8)).fill(20) };
const SMALL_COUNT = harness.size(2_000, 20);
const LONG_MS = harness.size(1_000, 20);
const UNEVEN = [
  { title: "a long one first", at: 0 },
  { title: "a long one in the middle", at: SMALL_COUNT / 2 },
  { title: "a long one near the end", at: SMALL_COUNT - 10 },
].map(({ title, at }) => ({ title, items: Array(SMALL_COUNT).fill(1).toSpliced(at, 0, LONG_MS) }));
const GROUPS = [EVEN, ...UNEVEN];

const { tinypool, workerpool, "jest-worker": jestWorker } = processPools;
/** A pool is kept for all turns; an idle pool uses no CPU time. */
const PEERS = {
  [OURS]: () => forkmap("fork"),
  "forkmap pool, spawn": () => forkmap("spawn"),
  tinypool: () => peer(tinypool),
  "jest-worker": () => peer(jestWorker),
  workerpool: () => peer(workerpool),
  "piscina, threads": () => peer(threadPools.piscina),
};

harness.introduce("cpu");
const figures = await harness.race(
  GROUPS.flatMap(({ title, items }) => [
    ...Object.entries(PEERS).map(([name, make]) => contender(title, items, name, make)),
    ...(title === EVEN.title ? [halves(items)] : []),
  ]),
);
report();

function contender(group, items, name, make) {
  let pool;
  return {
    group,
    name,
    open: async () => (pool = await make()),
    // Both processes have started and have compiled the code they run.
    warm: () => pool.map(Array(50).fill(1)),
    async run() {
      const results = await pool.map(items);
      harness.expectSame(results, items.map(String), name);
    },
    close: () => pool.close(),
  };
}

function forkmap(startMethod) {
  const parallel = new Parallel(new Busy(), { pool: WIDTH, startMethod });
  return { map: (items) => parallel.mapProcesses(items), close: () => parallel.close() };
}

async function peer(make) {
  const pool = await make("busy", WIDTH);
  return {
    map: (items) => Promise.all(items.map((item) => pool.run(item))),
    close: () => pool.close(),
  };
}

/** The speed of this machine at the moment: two processes do the same items without a pause and without a parent. */
function halves(items) {
  let pool;
  return {
    group: EVEN.title,
    name: HALVES,
    open: async () => (pool = await tinypool("busyAll", WIDTH)),
    warm: () => Promise.all(Array.from({ length: WIDTH }, () => pool.run([1]))),
    async run() {
      const share = items.length / WIDTH;
      await Promise.all(
        Array.from({ length: WIDTH }, (_, i) => pool.run(items.slice(i * share, (i + 1) * share))),
      );
    },
    close: () => pool.close(),
  };
}

/** The shortest time for items begun in this order: each runs in the first free slot. */
function bestSchedule(items) {
  const freeAt = Array(WIDTH).fill(0);
  for (const ms of items) freeAt[freeAt.indexOf(Math.min(...freeAt))] += ms;
  return Math.max(...freeAt);
}

function report() {
  for (const { title, items } of GROUPS) {
    const racing = [...Object.keys(PEERS), HALVES].filter((name) => of(title, name));
    if (racing.length === 0) continue;
    const best = bestSchedule(items);
    harness.heading(
      title === EVEN.title
        ? `${items.length} items of ${items[0]} ms, ${WIDTH} slots; ideal: ${best} ms`
        : `${SMALL_COUNT} items of 1 ms and one of ${LONG_MS} ms, ${title}; best schedule: ${best} ms`,
    );
    harness.table(
      ["", "ms in all", "min - max", "best / measured", "measured / best"],
      racing.map((name) => {
        const ms = of(title, name);
        return [
          name,
          harness.digits(harness.median(ms)),
          harness.span(ms),
          // More digits than usual: the differences are in the last few hundredths.
          (best / harness.median(ms)).toFixed(4),
          (harness.median(ms) / best).toFixed(4),
        ];
      }),
    );
  }

  harness.heading("targets");
  const exact = (value) => `${value.toFixed(4)}x`;
  target(
    `${EVEN.items.length} items of 20 ms: at least 0.985 of the ideal`,
    toBest(EVEN, (ms, best) => best / ms),
    atLeast(0.985),
    exact,
  );
  target(
    `${EVEN.items.length} items of 20 ms: at least 0.985 of ${HALVES}`,
    ratio(of(EVEN.title, HALVES), of(EVEN.title, OURS)),
    atLeast(0.985),
    exact,
  );
  for (const group of UNEVEN) {
    target(
      `${group.title}: within 3% of the best schedule`,
      toBest(group, (ms, best) => ms / best),
      atMost(1.03),
      exact,
    );
  }
}

function toBest({ title, items }, compare) {
  const ms = of(title, OURS);
  return ms && compare(harness.median(ms), bestSchedule(items));
}

/** The ms of each round. */
function of(title, name) {
  return figures.get(harness.key({ group: title, name }));
}
