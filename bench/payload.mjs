/**
 * Large results and large items: files (forkmap, a process per item) compared with IPC (child_process.fork) and with a
 * single process; and forkmap's pool compared with pools of threads, which share memory with their program.
 */
import { mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Parallel } from "forkmap";
import * as harness from "./harness.mjs";
import { threadPools } from "./peers.mjs";
import { rawFork } from "./raw-fork.mjs";
import { MakeBytes, MakeText, Measure } from "./workers/forkmap.mjs";
import { flip, makeBytes, makeText } from "./workers/payloads.mjs";

const { atLeast, atMost, inParallel, ratio } = harness;
const WIDTH = 2;
const MEBIBYTE = 2 ** 20;
const SIZES = [
  { mebibytes: 1, count: harness.size(200, 4) },
  { mebibytes: harness.size(64, 4), count: harness.size(4, 2) },
];

const POOL = "forkmap pool";
const MOVED = "piscina, threads, moved";
const THREAD_POOLS = Object.keys(threadPools).map((name) => `${name}, threads`);

/** The row that does the same file operations in one process. */
const ALONE = {
  "text items": "one process: write, read",
  "byte items": "one process: write, read",
  "byte items and results": "one process: write, read, twice",
};

const directory = mkdtempSync(join(tmpdir(), "forkmap-bench-"));
process.once("exit", () => rmSync(directory, { recursive: true, force: true }));

harness.introduce("payload");
const groups = SIZES.flatMap(({ mebibytes, count }) => {
  const bytes = mebibytes * MEBIBYTE;
  return [
    { what: "text results", mebibytes, count, peers: textResults(bytes, count) },
    { what: "byte results", mebibytes, count, peers: byteResults(bytes, count) },
    { what: "text items", mebibytes, count, peers: textItems(bytes, count) },
    { what: "byte items", mebibytes, count, peers: byteItems(bytes, count) },
    { what: "byte items and results", mebibytes, count, peers: bytesBothWays(bytes, count) },
  ].map((group) => ({ ...group, title: `${count} ${group.what} of ${mebibytes} MiB` }));
});
const figures = await harness.race(
  groups.flatMap(({ title, peers }) =>
    Object.entries(peers).map(([name, peer]) => ({ group: title, name, ...peer })),
  ),
);
report();

function textResults(bytes, count) {
  const made = makeText(bytes);
  const check = (results) =>
    expectAll(results, count, (text) => text.length === bytes && text.endsWith(made.slice(-9)));
  return {
    "forkmap fork": forkmap(
      new MakeText(),
      () => Array.from({ length: count }, () => bytes),
      check,
    ),
    "child_process.fork, JSON": raw(count, () => ["makeText", bytes], check),
    "child_process.fork, advanced": raw(count, () => ["makeText", bytes], check, {
      serialization: "advanced",
    }),
    "one process: make, write, read": alone(
      count,
      () => throughFile(makeText(bytes), "utf8"),
      check,
    ),
    "one process: write, read": alone(count, () => throughFile(made, "utf8"), check),
    ...pools(
      () => new MakeText(),
      "makeText",
      () => Array(count).fill(bytes),
      check,
    ),
  };
}

function byteResults(bytes, count) {
  const made = makeBytes(bytes);
  const check = (results) =>
    expectAll(results, count, (each) => each.length === bytes && each.at(-1) === made.at(-1));
  return {
    "forkmap fork": forkmap(
      new MakeBytes(),
      () => Array.from({ length: count }, () => bytes),
      check,
    ),
    // JSON would make an object with a property per byte of it, which no program does.
    "child_process.fork, advanced": raw(count, () => ["makeBytes", bytes], check, {
      serialization: "advanced",
    }),
    "one process: make, write, read": alone(count, () => throughFile(makeBytes(bytes)), check),
    "one process: write, read": alone(count, () => throughFile(made), check),
    ...pools(
      () => new MakeBytes(),
      "makeBytes",
      () => Array(count).fill(bytes),
      check,
    ),
    // piscina's own wrapper moves the memory instead of copying it.
    [MOVED]: pool(
      () => poolOfThreads(threadPools.piscina, "makeBytesToMove"),
      () => Array(count).fill(bytes),
      check,
    ),
  };
}

function textItems(bytes, count) {
  const item = makeText(bytes);
  const check = (results) => expectAll(results, count, (length) => length === String(bytes));
  return {
    "forkmap fork": forkmap(new Measure(), () => Array.from({ length: count }, () => item), check),
    "child_process.fork, JSON": raw(count, () => ["measure", item], check),
    "child_process.fork, advanced": raw(count, () => ["measure", item], check, {
      serialization: "advanced",
    }),
    "one process: write, read": alone(count, () => String(throughFile(item, "utf8").length), check),
    ...pools(
      () => new Measure(),
      "measure",
      () => Array(count).fill(item),
      check,
    ),
  };
}

function byteItems(bytes, count) {
  const item = makeBytes(bytes);
  const check = (results) => expectAll(results, count, (length) => length === String(bytes));
  return {
    "forkmap fork": forkmap(new Measure(), () => Array.from({ length: count }, () => item), check),
    "child_process.fork, advanced": raw(count, () => ["measure", item], check, {
      serialization: "advanced",
    }),
    "one process: write, read": alone(count, () => String(throughFile(item).length), check),
    ...pools(
      () => new Measure(),
      "measure",
      () => Array(count).fill(item),
      check,
    ),
  };
}

/** A function that changes a byte of its item and returns it. */
function bytesBothWays(bytes, count) {
  const item = makeBytes(bytes);
  const check = (results) =>
    expectAll(
      results,
      count,
      (each) => each.length === bytes && each[0] === (item[0] ^ 255) && each.at(-1) === item.at(-1),
    );
  return {
    "forkmap fork": forkmap(flip, () => Array.from({ length: count }, () => item), check),
    "child_process.fork, advanced": raw(count, () => ["flip", item], check, {
      serialization: "advanced",
    }),
    "one process: write, read, twice": alone(
      count,
      () => throughFile(flip(throughFile(item))),
      check,
    ),
    ...pools(
      () => flip,
      "flip",
      () => Array(count).fill(item),
      check,
    ),
  };
}

function forkmap(worker, items, check) {
  const parallel = new Parallel(worker, { startMethod: "fork", concurrency: WIDTH });
  return {
    open: () => parallel.ready(),
    warm: () => parallel.mapProcesses(items().slice(0, 2)),
    run: async () => check(await parallel.mapProcesses(items())),
    close: () => parallel.close(),
  };
}

/** forkmap's pool and the pools of threads, which receive one item per call, all at once, as their documentation shows. */
function pools(makeWorker, job, items, check) {
  return {
    [POOL]: pool(() => poolOfForkmap(makeWorker()), items, check),
    ...Object.fromEntries(
      Object.entries(threadPools).map(([name, make]) => [
        `${name}, threads`,
        pool(() => poolOfThreads(make, job), items, check),
      ]),
    ),
  };
}

/** Pools are created, warmed up and closed in each turn: thirty idle warm pools would hold gigabytes of garbage. */
function pool(make, items, check) {
  return {
    async run() {
      const { map, close } = await make();
      check(await map(items()));
      const start = performance.now();
      check(await map(items()));
      const ms = performance.now() - start;
      await close();
      return ms;
    },
  };
}

function poolOfForkmap(worker) {
  const parallel = new Parallel(worker, { pool: WIDTH });
  return { map: (items) => parallel.mapProcesses(items), close: () => parallel.close() };
}

async function poolOfThreads(make, job) {
  const threads = await make(job, WIDTH);
  return {
    map: (items) => Promise.all(items.map((item) => threads.run(item))),
    close: () => threads.close(),
  };
}

function raw(count, request, check, options) {
  return {
    run: async () => check(await inParallel(count, WIDTH, () => rawFork(...request(), options))),
  };
}

function alone(count, run, check) {
  return { warm: run, run: () => check(Array.from({ length: count }, run)) };
}

/** The file operations of a scratch file, one after the other in one process. */
function throughFile(data, encoding) {
  const file = join(directory, "payload");
  writeFileSync(file, data, { flag: "wx", mode: 0o600 });
  const read = readFileSync(file, encoding);
  unlinkSync(file);
  return read;
}

function expectAll(results, count, isRight) {
  if (results.length !== count || !results.every(isRight)) throw new Error("wrong results");
}

function report() {
  for (const { title, what, mebibytes, count, peers } of groups) {
    const alone = "one process: write, read" in peers ? "one process: write, read" : ALONE[what];
    const racing = Object.keys(peers).filter((name) => of(title, name));
    if (racing.length === 0) continue;
    harness.heading(`${title}, ${WIDTH} processes or threads at a time`);
    harness.table(
      [
        "",
        "ms in all",
        "min - max",
        "MiB/s",
        "throughput / child_process.fork",
        `time / ${alone}`,
        `throughput / ${POOL}`,
      ],
      racing.map((name) => {
        const ms = of(title, name);
        return [
          name,
          harness.digits(harness.median(ms)),
          harness.span(ms),
          harness.digits((mebibytes * count * 1000) / harness.median(ms)),
          harness.times(ratio(of(title, usual(peers)), ms)),
          harness.times(ratio(ms, of(title, alone))),
          harness.times(ratio(of(title, POOL), ms)),
        ];
      }),
    );
  }

  harness.heading("targets");
  for (const { title, mebibytes, what, peers } of groups) {
    const threads = THREAD_POOLS.filter((name) => of(title, name)).toSorted(
      (a, b) => harness.median(of(title, a)) - harness.median(of(title, b)),
    );
    harness.target(
      `${title}: at least the throughput of the best pool of threads (${threads[0]})`,
      ratio(of(title, threads[0]), of(title, POOL)),
      atLeast(1),
    );
    if (MOVED in peers)
      harness.target(
        `${title}: at least the throughput of ${MOVED}, which copies nothing`,
        ratio(of(title, MOVED), of(title, POOL)),
        atLeast(1),
      );
    const ours = of(title, "forkmap fork");
    if (mebibytes === 1) {
      harness.target(
        `${title}: at least 4x the throughput of ${usual(peers)}`,
        ratio(of(title, usual(peers)), ours),
        atLeast(4),
      );
      continue;
    }
    const same = ALONE[what] ?? "one process: make, write, read";
    harness.target(
      `${title}: at most 1.5x the time of ${same}`,
      ratio(ours, of(title, same)),
      atMost(1.5),
    );
  }
}

/** The row of child_process.fork in common use: its default, JSON, if JSON can carry the payload. */
function usual(peers) {
  return Object.keys(peers).find((name) => name.startsWith("child_process.fork"));
}

/** The ms of each round. */
function of(title, name) {
  return figures.get(harness.key({ group: title, name }));
}
