/**
 * What one server carries, and what machines cost it: the figures of docs/scaling.md, and its model beside them. Most machines are simulated:
 * they have all that a machine has at the server, and no children. The server is started for the bench.
 *
 * What is not told by a clock is CPU time of the server: other programs on the machine change it less.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Parallel } from "forkmap";
import { bullmq } from "forkmap/bullmq";
import * as harness from "./harness.mjs";
import { startConsumer } from "./queue/clients.mjs";
import { Shout } from "./queue/forkmap-workers.mjs";
import { startRedis } from "./queue/redis.mjs";
import { ServerFigures } from "./queue/server-figures.mjs";
import { startMachines } from "./queue/simulated.mjs";
import { shout } from "./queue/work.mjs";

const { digits, median } = harness;

const QUEUE = "shout@1";
const BATCHES = [1, 10, 100, 1000];
/** Items of a map, by the items in a job. */
const ITEMS = {
  1: harness.size(3000, 50),
  10: harness.size(20_000, 200),
  100: harness.size(100_000, 1000),
  1000: harness.size(200_000, 4000),
};
const FEW = { machines: 4, slots: 8 };
/** So many jobs are under way that none of the server's time goes unused. */
const MANY_SLOTS = { machines: 4, slots: 128 };
/** The server runs so many ms of each period, and is stopped for the rest: so it is the limit, not the machines. */
const SHARE = { running: 1, period: 8 };
const FLEETS = harness.quick ? [4] : [10, 100, 1000];
const IDLE_MS = harness.size(10_000, 300);
const TINY = harness.size(20_000, 400);
/** Items that take time: machines of 2 slots each. */
const SLOW = { itemMs: 200, slots: 2, fleets: harness.quick ? [2] : [1, 4, 16, 64], perSlot: 20 };
const CALLS = harness.size(300, 10);
const IN_FLIGHT = harness.size(500, 50);

const redis = await startRedis();
if (!redis) {
  console.log("skipped: redis-server is not installed");
  process.exit();
}
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
const { connection } = redis;
const server = new ServerFigures(connection);
const { pid } = await server.look();

harness.introduce("queue-scale");
const parts = { batches, limit, children, fleets, slowItems, latency, memory, named };
for (const [name, part] of Object.entries(parts)) {
  if (harness.isWanted(name)) await part();
}
server.close();
await redis.close();

function open(options = {}) {
  return new Parallel(new Shout(), { engine: bullmq({ connection }), ...options });
}

function texts(count) {
  return Array.from({ length: count }, (_, i) => `item ${i}`);
}

/** Maps as often as there are rounds, after one to warm up. Returns what each took of the server. */
async function measureMap(parallel, items, options) {
  const turns = [];
  for (let round = 0; round <= harness.rounds; round += 1) {
    let results;
    const turn = await server.during(async () => {
      results = await parallel.mapProcesses(items, options?.(round));
    });
    harness.expectSame(results, items.map(shout), "a map");
    if (round > 0) turns.push(turn);
  }
  return (name) => median(turns.map((turn) => turn[name]));
}

async function batches() {
  const end = await startMachines({ connection, queue: QUEUE, ...FEW });
  const rows = [];
  for (const batch of BATCHES) {
    const count = ITEMS[batch];
    const parallel = open({ batch });
    const turn = await measureMap(parallel, texts(count));
    await parallel.close();
    const jobs = count / batch;
    const cost = (turn("cpu") * 1000) / jobs;
    const per = (value) => digits(value);
    rows.push([
      batch,
      per(cost),
      per(1e6 / cost),
      per((1e6 / cost) * batch),
      per(turn("traffic") / count),
      per((count * 1000) / turn("ms")),
      `${per((100 * turn("cpu")) / turn("ms"))} %`,
    ]);
  }
  await end();
  harness.heading("what a job costs the server, by the items in it");
  harness.table(
    [
      "items in a job",
      "µs of CPU for a job",
      "so at most jobs/s",
      "so at most items/s",
      "bytes of traffic for an item",
      `items/s here, ${FEW.machines} machines`,
      "the server was busy",
    ],
    rows,
  );
}

/** The model's check: with a share of a processor, the server should do that share of the jobs. */
async function limit() {
  const end = await startMachines({ connection, queue: QUEUE, ...MANY_SLOTS });
  const rows = [];
  for (const batch of BATCHES) {
    const items = texts(ITEMS[batch]);
    const jobs = items.length / batch;
    const parallel = open({ batch });
    const free = await measureMap(parallel, items);
    const unthrottle = await throttle();
    const turn = await server.during(() => parallel.mapProcesses(items));
    const share = await unthrottle();
    await parallel.close();
    const expected = (share * 1000 * jobs) / free("cpu");
    const measured = (jobs * 1000) / turn.ms;
    const error = (100 * (measured - expected)) / expected;
    const busy = (100 * turn.cpu) / turn.ms;
    rows.push([batch, ...[100 * share, busy, expected, measured, error].map(digits)]);
  }
  await end();
  harness.heading("the server as the limit: it may run only some of the time");
  const columns = ["% of the time", "% in which it was busy", "model: jobs/s", "jobs/s"];
  harness.table(["items in a job", ...columns, "error in %"], rows);
}

/** @returns what lets the server run freely, and returns which part of the time it could run */
async function throttle() {
  const file = fileURLToPath(new URL("queue/throttle.mjs", import.meta.url));
  const child = fork(file, [pid, SHARE.running, SHARE.period]);
  await once(child, "message");
  return async () => {
    child.send("enough");
    const [share] = await once(child, "message");
    return share;
  };
}

/** A real machine: its children, not the server, are the limit. */
async function children() {
  const consumer = await startConsumer("forkmap-consumer", "batches", QUEUE, connection);
  const rows = [];
  for (const batch of [...BATCHES, "auto"]) {
    const count = ITEMS[batch] ?? ITEMS[100];
    const parallel = open({ batch });
    const turn = await Promise.race([measureMap(parallel, texts(count)), consumer.ended]);
    await parallel.close();
    const busy = `${digits((100 * turn("cpu")) / turn("ms"))} %`;
    rows.push([batch, digits((count * 1000) / turn("ms")), busy]);
  }
  await consumer.close();
  harness.heading(
    "one machine of two processes, and this program, with the server on the same two cores",
  );
  harness.table(["`batch`", "items/s", "the server was busy"], rows);
}

/** What machines cost the server when nothing is to be done, and what their number does to a small map. */
async function fleets() {
  const rows = [];
  for (const machines of FLEETS) {
    const before = await server.look();
    const start = performance.now();
    const end = await startMachines({ connection, queue: QUEUE, machines, slots: 8 });
    const opening = (performance.now() - start) / 1000;
    await sleep(IDLE_MS / 4);
    const idle = await server.during(() => sleep(IDLE_MS));
    const after = await server.look();
    const parallel = open();
    const turn = await measureMap(parallel, texts(TINY));
    await parallel.close();
    await end();
    rows.push([
      machines,
      digits((after.connections - before.connections) / machines),
      digits((after.memory - before.memory) / machines / 1024),
      digits((idle.commands * 1000) / idle.ms),
      `${digits((100 * idle.cpu) / idle.ms)} %`,
      digits(turn("ms")),
      digits(turn("cpu")),
      digits(opening),
    ]);
  }
  harness.heading(`machines that wait, and a map of ${TINY} tiny items over them`);
  harness.table(
    [
      "machines",
      "connections of each",
      "KiB of each",
      "commands/s of all",
      "the server is busy",
      "a map: ms",
      "of it CPU of the server",
      "s until all serve",
    ],
    rows,
  );
}

/** The model's check where the machines are the limit. */
async function slowItems() {
  const { itemMs, slots, perSlot } = SLOW;
  const rows = [];
  for (const machines of SLOW.fleets) {
    const end = await startMachines({ connection, queue: QUEUE, machines, slots, itemMs });
    const count = machines * slots * perSlot;
    const parallel = open();
    const turn = await measureMap(parallel, texts(count));
    await parallel.close();
    await end();
    const expected = (machines * slots * 1000) / itemMs;
    const measured = (count * 1000) / turn("ms");
    const error = (100 * (measured - expected)) / expected;
    const busy = `${digits((100 * turn("cpu")) / turn("ms"))} %`;
    rows.push([machines, digits(expected), digits(measured), digits(error), busy]);
  }
  harness.heading(`items of ${itemMs} ms on machines of ${slots} slots, ${perSlot} for each slot`);
  harness.table(
    ["machines", "model: items/s", "items/s", "error in %", "the server was busy"],
    rows,
  );
}

/** Of `run`, one call at a time. */
async function latency() {
  const rows = [];
  const measure = async (name, parallel) => {
    const times = [];
    await parallel.run("to warm up");
    const { cpu } = await server.during(async () => {
      for (const item of texts(CALLS)) {
        const start = performance.now();
        await parallel.run(item);
        times.push(performance.now() - start);
      }
    });
    times.sort((a, b) => a - b);
    const slowest = times[Math.floor(times.length * 0.99)];
    rows.push([name, digits(median(times)), digits(slowest), digits(cpu / CALLS)]);
    await parallel.close();
  };
  const end = await startMachines({ connection, queue: QUEUE, machines: 1, slots: 2 });
  await measure("a simulated machine, without children", open());
  await end();
  const consumer = await startConsumer("forkmap-consumer", "single", QUEUE, connection);
  await measure("a machine of two processes", open());
  await consumer.close();
  await measure("no queue: `pool: 2`", new Parallel(new Shout(), { pool: 2 }));
  harness.heading("`run`, one call at a time");
  harness.table(["", "median ms", "99 of 100 below", "ms of the server's CPU"], rows);
}

/** With all items in flight: taken by a machine, and not done. */
async function memory() {
  const rows = [];
  for (const batch of BATCHES) {
    const end = await startMachines({
      connection,
      queue: QUEUE,
      machines: 1,
      slots: IN_FLIGHT,
      itemMs: 1e8,
    });
    const parallel = open({ batch });
    await parallel.ready();
    await sleep(harness.size(2000, 300));
    const before = await server.look();
    const call = parallel.mapProcesses(texts(IN_FLIGHT * batch));
    call.catch(() => {});
    await server.hasList(`bull:${QUEUE}:active`, IN_FLIGHT);
    const after = await server.look();
    await parallel.destroy();
    await end();
    // The machines have ended as if they were killed, and have left their jobs.
    await server.clear();
    const each = (after.memory - before.memory) / IN_FLIGHT;
    rows.push([batch, digits(each), digits(each / batch)]);
  }
  harness.heading(`memory of the server for ${IN_FLIGHT} jobs in flight, items of 10 bytes`);
  harness.table(["items in a job", "bytes for a job", "bytes for an item"], rows);
}

/** A run with a name keeps all results until its end. */
async function named() {
  const end = await startMachines({ connection, queue: QUEUE, ...FEW });
  const count = ITEMS[100];
  const rows = [];
  for (const name of [undefined, "nightly"]) {
    const parallel = open({ batch: 100 });
    const options = (round) => (name === undefined ? {} : { run: `${name}-${round}` });
    const turn = await measureMap(parallel, texts(count), options);
    await parallel.close();
    const per = (value) => digits((value * 1000) / count);
    rows.push([
      name ? "`run` given" : "no name",
      digits((count * 1000) / turn("ms")),
      per(turn("cpu")),
    ]);
  }
  await end();
  harness.heading(`${count} items in jobs of 100, with and without a name of the run`);
  harness.table(["", "items/s", "µs of the server's CPU for an item"], rows);
}
