/**
 * A queue on Redis between two processes: plain BullMQ beside forkmap on it. Tiny items in jobs of 100, the latency of a job, and jobs that
 * have a process each. The server is started for the bench.
 */
import { Parallel } from "forkmap";
import { bullmq } from "forkmap/bullmq";
import * as harness from "./harness.mjs";
import { Producer, startConsumer } from "./queue/clients.mjs";
import { Shout, ShoutJob } from "./queue/forkmap-workers.mjs";
import { startRedis } from "./queue/redis.mjs";
import { shout } from "./queue/work.mjs";

const { atLeast, atMost, digits, median, ratio, span, target } = harness;

const BATCHES = "batches";
const ITEMS = harness.size(20_000, 400);
/** In one turn, one after the other: one map alone takes a tenth of a second. */
const MAPS = harness.size(5, 1);
const BATCH = 100;
const SINGLE = "a job at a time";
const CALLS = harness.size(500, 10);
const FRESH = "single jobs, 2 at a time";
const PLAIN = "BullMQ";
const OURS = "forkmap";
const SHARED = "BullMQ, sandboxed";
const KILLED = "BullMQ, sandboxed, child killed after each job";
const OURS_FRESH = "forkmap, pool: false";
const JOBS = {
  [SHARED]: harness.size(2000, 20),
  [KILLED]: harness.size(20, 2),
  [OURS_FRESH]: harness.size(500, 10),
};
const MOST_BESIDE_PLAIN_MS = 2;

const redis = await startRedis();
if (!redis) {
  console.log("skipped: redis-server is not installed");
  process.exit();
}
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

harness.introduce("queue");
const { connection } = redis;
const items = Array.from({ length: ITEMS }, (_, i) => `item ${i}`);
const expected = items.map(shout);
/** ms by turn, the first of which is to warm up: the 99th percentile of its jobs. */
const slowest = new Map([PLAIN, OURS].map((name) => [name, []]));
const byPlain = (queue) => new Producer(queue, connection);
const byOurs = (queue) =>
  new Parallel(new Shout(), { engine: bullmq({ connection, queue }), batch: BATCH });
const figures = await harness.race([
  contender(BATCHES, PLAIN, ["bullmq-consumer", "batches"], byPlain, maps(mapByHand)),
  contender(BATCHES, OURS, ["forkmap-consumer", "batches"], byOurs, maps(mapByEngine)),
  contender(SINGLE, PLAIN, ["bullmq-consumer", "single"], byPlain, oneByOne(PLAIN, runByHand)),
  contender(SINGLE, OURS, ["forkmap-consumer", "single"], byOurs, oneByOne(OURS, runByEngine)),
  contender(FRESH, SHARED, ["bullmq-consumer", "sandboxed"], byPlain, together(SHARED)),
  contender(FRESH, KILLED, ["bullmq-consumer", "sandboxed, killed"], byPlain, together(KILLED)),
  contender(FRESH, OURS_FRESH, ["forkmap-consumer", "pool: false"], byPlain, together(OURS_FRESH)),
]);
await redis.close();
report();

/** The consumer is a process of its own; this process is the producer. */
function contender(group, name, [program, kind], connect, run) {
  const queue = `${group} ${name}`.replaceAll(/\W+/g, "-");
  let consumer;
  let producer;
  const turn = () => Promise.race([run(producer), consumer.ended]);
  return {
    group,
    name,
    async open() {
      consumer = await startConsumer(program, kind, queue, connection);
      producer = connect(queue);
    },
    warm: turn,
    run: turn,
    async close() {
      await producer.close();
      await consumer.close();
    },
  };
}

/** Returns items a second. */
function maps(map) {
  return async (producer) => {
    const start = performance.now();
    for (let i = 0; i < MAPS; i += 1) harness.expectSame(await map(producer), expected, BATCHES);
    return (MAPS * ITEMS * 1000) / (performance.now() - start);
  };
}

async function mapByHand(producer) {
  const datas = [];
  for (let i = 0; i < ITEMS; i += BATCH) datas.push({ items: items.slice(i, i + BATCH) });
  return (await producer.run("shout", datas)).flat();
}

function mapByEngine(parallel) {
  return parallel.mapProcesses(items);
}

/** Returns the median of the latencies, in ms. */
function oneByOne(name, call) {
  return async (producer) => {
    const times = [];
    for (const item of items.slice(0, CALLS)) {
      const start = performance.now();
      const result = await call(producer, item);
      times.push(performance.now() - start);
      harness.expectSame(result, shout(item), name);
    }
    times.sort((a, b) => a - b);
    slowest.get(name).push(times[Math.floor(times.length * 0.99)]);
    return median(times);
  };
}

function runByHand(producer, text) {
  return producer.runOne("shout", { text });
}

function runByEngine(parallel, text) {
  return parallel.run(text);
}

/** All jobs are added at once. Returns jobs a second. */
function together(name) {
  return async (producer) => {
    const texts = items.slice(0, JOBS[name]);
    const datas = texts.map((text) => ({ text }));
    const start = performance.now();
    const results = await producer.run(ShoutJob.workerName, datas);
    const ms = performance.now() - start;
    harness.expectSame(results, texts.map(shout), name);
    return (texts.length * 1000) / ms;
  };
}

function report() {
  const of = (group, name) => figures.get(harness.key({ group, name }));
  const show = (title, group, names, columns, more) => {
    const ran = names.filter((name) => of(group, name));
    if (ran.length === 0) return;
    harness.heading(title);
    harness.table(
      columns,
      ran.map((name) => {
        const figure = of(group, name);
        return [name, digits(median(figure)), span(figure), ...more(name, figure)];
      }),
    );
  };
  show(
    `${ITEMS} items in jobs of ${BATCH}`,
    BATCHES,
    [PLAIN, OURS],
    ["", "items/s", "min - max", `items/s / ${PLAIN}`],
    (_, figure) => [harness.times(ratio(figure, of(BATCHES, PLAIN)))],
  );
  show(
    "a job at a time: ms from adding it to its result",
    SINGLE,
    [PLAIN, OURS],
    ["", "median", "min - max of rounds", "99 of 100 below"],
    // The first turn was to warm up.
    (name) => [digits(median(slowest.get(name).slice(1)))],
  );
  show(
    FRESH,
    FRESH,
    [SHARED, KILLED, OURS_FRESH],
    ["", "jobs/s", "min - max", `jobs/s / ${SHARED}`],
    (_, figure) => [harness.times(ratio(figure, of(FRESH, SHARED)))],
  );
  harness.heading("targets");
  target(
    `${BATCHES}: at least 0.9 of the items/s of ${PLAIN}`,
    ratio(of(BATCHES, OURS), of(BATCHES, PLAIN)),
    atLeast(0.9),
  );
  target(
    `${SINGLE}: its median at most ${MOST_BESIDE_PLAIN_MS} ms above that of ${PLAIN}`,
    difference(of(SINGLE, OURS), of(SINGLE, PLAIN)),
    atMost(MOST_BESIDE_PLAIN_MS),
    (ms) => `${digits(ms)} ms`,
  );
  target(
    `${OURS_FRESH}: at least 10x the jobs/s of ${KILLED}`,
    ratio(of(FRESH, OURS_FRESH), of(FRESH, KILLED)),
    atLeast(10),
  );
  target(
    `${OURS_FRESH}: at least half the jobs/s of ${SHARED}`,
    ratio(of(FRESH, OURS_FRESH), of(FRESH, SHARED)),
    atLeast(0.5),
  );
}

/** The median of the differences within each round. */
function difference(a, b) {
  return a && b && median(a.map((value, round) => value - b[round]));
}
