/**
 * One contender of bench/serve in a program of its own: many callers, each of which makes a call for one item, awaits it and
 * makes the next. Prints for each number of callers as JSON: calls a second, p50 and p99 of the latency in us, and the CPU
 * time of this process per call in us.
 */
import { processPools, threadPools } from "../peers.mjs";

const WIDTH = 2;
/**
 * Calls for each process or thread at once. Of 1, 2, 8, 32 and 128, 32 is best or close to it with 1, 64 and 1,000 callers; with
 * 128 piscina gives all of 64 calls to one thread.
 */
const AHEAD = 32;
const US_PER_MS = 1000;

const [name, job, msText, ...callers] = process.argv.slice(2);
const ms = Number(msText);

const contenders = {
  "forkmap run": () => forkmap((parallel) => parallel.run, "mapProcesses"),
  "forkmap mapProcesses([x])": () => forkmap(() => undefined, "mapProcesses"),
  "forkmap runThread": () => forkmap((parallel) => parallel.runThread, "mapThreads"),
  ...Object.fromEntries(
    Object.entries(processPools).map(([pool, make]) => [pool, () => make(job, WIDTH, AHEAD)]),
  ),
  // Its threads divide calls of 1 ms evenly only if they receive one at a time.
  "tinypool, threads": () => threadPools.tinypool(job, WIDTH, job === "busy" ? 1 : AHEAD),
  "piscina, threads": () => threadPools.piscina(job, WIDTH, AHEAD),
};

/** Items differ, so that an answer to another call is detected. */
const jobs = {
  double: (call) => ({ item: call, expected: String(call * 2) }),
  busy: (call) => {
    const item = 1 + (call % 1000) / 1e6;
    return { item, expected: String(item) };
  },
};

const pool = await contenders[name]();
const figures = {};
for (const count of callers) {
  // A server is measured when it is warm. What V8 compiles depends on how many calls are under way.
  await serve(Number(count), 2 * ms);
  figures[count] = await serve(Number(count), ms);
}
await pool.close();
console.log(JSON.stringify(figures));
// Ends at once: anything that a library leaves open must not keep the bench waiting.
process.exit();

/** Callers begin no new call after `ms`, but each makes at least one. */
async function serve(callers, ms) {
  const latencies = [];
  let calls = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const caller = async () => {
    do {
      const { item, expected } = jobs[job](calls);
      calls += 1;
      const asked = performance.now();
      const result = await pool.run(item);
      latencies.push(performance.now() - asked);
      if (result !== expected) throw new Error(`wrong result for ${item}: ${result}`);
    } while (performance.now() < start + ms);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const sorted = Float64Array.from(latencies).sort();
  return {
    rate: calls / seconds,
    p50: quantile(sorted, 0.5) * US_PER_MS,
    p99: quantile(sorted, 0.99) * US_PER_MS,
    cpu: (user + system) / calls,
  };
}

function quantile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** A verb for one item, or where there is none, a map of one item. */
async function forkmap(verbOf, map) {
  const { Parallel } = await import("forkmap");
  const { Busy, Double } = await import("./forkmap-pool.mjs");
  const parallel = new Parallel(job === "busy" ? new Busy() : new Double(), { pool: WIDTH });
  const verb = verbOf(parallel);
  const mapped = async (item) => (await parallel[map]([item]))[0];
  return {
    run: verb ? (item) => verb.call(parallel, item) : mapped,
    close: () => parallel.close(),
  };
}
