/**
 * One contender of bench/throughput in a program of its own: maps once to warm up, then repeatedly for the given time, and
 * prints as JSON the ms of a map and the peak memory of this process after the first map.
 */
import { processPools, threadPools } from "../peers.mjs";

const WIDTH = 2;
/** Calls under way at once in a pool, and in each of its processes; more gain nothing, and all at once cost up to 3/4 of the speed. */
const WINDOW = 256;
const AHEAD = 128;
const FIBERS = 50;
/** A stream maps more items, because it takes them one by one. */
const STREAM_FACTOR = 10;
const TENTHS = 10;
const SAMPLES_PER_TENTH = 20;

const contenders = {
  "forkmap pool": () => forkmap("Double", { pool: WIDTH }, "mapProcesses"),
  "forkmap pool, spawn": () =>
    forkmap("Double", { pool: WIDTH, startMethod: "spawn" }, "mapProcesses"),
  "forkmap pool, fibers": () =>
    forkmap("DoubleAsync", { pool: WIDTH, fibers: FIBERS }, "mapProcesses"),
  "forkmap threads": () => forkmap("Double", { concurrency: WIDTH }, "mapThreads"),
  "raw pipes": () => rawPipes(),
  "raw pipes, blocking": () => rawPipes("raw-pipes-blocking-child.mjs"),
  async "multiprocess-pool"() {
    const { default: library } = await import("multiprocess-pool");
    const { fileURLToPath } = await import("node:url");
    const pool = new library.Pool(WIDTH);
    const file = fileURLToPath(new URL("double.cjs", import.meta.url));
    return { map: (items) => pool.map(items, file), close: () => pool.close() };
  },
  ...Object.fromEntries(
    Object.entries(processPools).map(([name, make]) => [name, () => oneByOne(make)]),
  ),
  "piscina, threads": () => oneByOne(threadPools.piscina),
};

const [name, countText, leastMsText] = process.argv.slice(2);
const count = Number(countText);
const figures =
  name === "forkmap stream"
    ? await stream()
    : name === "forkmap stream, memory"
      ? await streamMemory()
      : await maps(await contenders[name](), Number(leastMsText));
console.log(JSON.stringify(figures));
// Ends at once: anything that a library leaves open must not keep the bench waiting.
process.exit();

async function maps(contender, leastMs) {
  const items = Array.from({ length: count }, (_, i) => i);
  check(await contender.map(items));
  const peakBytes = peakRss();
  let maps = 0;
  let ms = 0;
  const start = performance.now();
  do {
    const results = await contender.map(items);
    ms = performance.now() - start;
    maps += 1;
    if (results.length !== count) throw new Error("results are missing");
  } while (ms < leastMs);
  await contender.close();
  return { ms: ms / maps, peakBytes };
}

/** Reports the ms for as many items as the others map. */
async function stream() {
  const parallel = await streamer();
  await read(parallel.stream(numbers(count)));
  const start = performance.now();
  await read(parallel.stream(numbers(count * STREAM_FACTOR)));
  const ms = (performance.now() - start) / STREAM_FACTOR;
  await parallel.close();
  return { ms, peakBytes: peakRss() };
}

/** Not timed: collects garbage at the end of each tenth to measure the memory still held. */
async function streamMemory() {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc");
  const parallel = await streamer();
  const items = count * STREAM_FACTOR;
  // By then V8 has grown its space for young objects, as in any program: by 14 MiB within the first million.
  await read(parallel.stream(numbers(items)));
  const held = [];
  const rss = [];
  await read(parallel.stream(numbers(items)), (index) => {
    if ((index + 1) % (items / TENTHS / SAMPLES_PER_TENTH) === 0)
      rss.push(process.memoryUsage.rss());
    if ((index + 1) % (items / TENTHS) !== 0) return;
    collectGarbage();
    held.push(process.memoryUsage().heapUsed);
  });
  await parallel.close();
  return {
    heldFirst: held[0],
    heldLast: held[TENTHS - 1],
    rssFirst: Math.max(...rss.slice(0, SAMPLES_PER_TENTH)),
    rssLast: Math.max(...rss.slice(-SAMPLES_PER_TENTH)),
  };
}

async function streamer() {
  const { Parallel } = await import("forkmap");
  const { Double } = await import("./forkmap-pool.mjs");
  return new Parallel(new Double(), { pool: WIDTH });
}

async function read(results, look) {
  let index = 0;
  for await (const result of results) {
    if (result !== String(index * 2)) throw new Error(`wrong result ${index}: ${result}`);
    look?.(index);
    index += 1;
  }
}

function* numbers(count) {
  for (let n = 0; n < count; n += 1) yield n;
}

async function forkmap(worker, options, verb) {
  const { Parallel } = await import("forkmap");
  const workers = await import("./forkmap-pool.mjs");
  const parallel = new Parallel(new workers[worker](), options);
  return { map: (items) => parallel[verb](items), close: () => parallel.close() };
}

async function rawPipes(child) {
  const library = await import("../raw-pipes.mjs");
  return library.rawPipes(WIDTH, child);
}

async function oneByOne(make) {
  const pool = await make("double", WIDTH, AHEAD);
  return {
    async map(items) {
      const results = new Array(items.length);
      let next = 0;
      const lane = async () => {
        while (next < items.length) {
          const index = next;
          next += 1;
          results[index] = await pool.run(items[index]);
        }
      };
      await Promise.all(Array.from({ length: WINDOW }, lane));
      return results;
    },
    close: () => pool.close(),
  };
}

function check(results) {
  if (results.length !== count) throw new Error("results are missing");
  const wrong = results.findIndex((result, index) => result !== String(index * 2));
  if (wrong !== -1) throw new Error(`wrong result ${wrong}: ${results[wrong]}`);
}

function peakRss() {
  return process.resourceUsage().maxRSS * 1024;
}
