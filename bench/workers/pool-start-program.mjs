/**
 * A program that has just started: times a pool from the import of its library, with as many items as slots, and prints
 * JSON: the ms to the first result or, if items run for a while, until the last of them had begun.
 */
const [name, slotsText, holdText] = process.argv.slice(2);
const slots = Number(slotsText);
const hold = Number(holdText);

/** Each imports its library, because the import is part of the time; `each` calls back with the results as they come. */
const contenders = {
  "forkmap pool": () => forkmap({}),
  "forkmap pool, spawn": () => forkmap({ startMethod: "spawn" }),
  async tinypool() {
    const { processPools } = await import("../peers.mjs");
    return oneByOne(await processPools.tinypool("begin", slots));
  },
  async "tinypool, threads"() {
    const { threadPools } = await import("../peers.mjs");
    return oneByOne(await threadPools.tinypool("begin", slots));
  },
  async "piscina, threads"() {
    const { threadPools } = await import("../peers.mjs");
    return oneByOne(await threadPools.piscina("begin", slots));
  },
};

const start = process.hrtime.bigint();
const pool = await contenders[name]();
let first;
const results = [];
await pool.each(Array(slots).fill(hold), (result) => {
  first ??= process.hrtime.bigint();
  results.push(result);
});
await pool.close();
const places = new Set(results.map((result) => result.split(" ")[1]));
// Items that run for a while occupy all slots; others may be done before the last slot has started.
if (results.length !== slots || (hold > 0 && places.size !== slots))
  throw new Error(`${results.length} results from ${places.size} slots of ${slots}`);
const lastBegun = results
  .map((result) => BigInt(result.split(" ")[0]))
  .toSorted(compare)
  .at(-1);
console.log(JSON.stringify({ first: since(first), begun: since(lastBegun) }));
process.exit();

async function forkmap(options) {
  const { Parallel } = await import("forkmap");
  const { Begin } = await import("./forkmap-pool.mjs");
  const parallel = new Parallel(new Begin(), { pool: slots, ...options });
  return {
    each: (items, done) =>
      parallel.mapProcesses(items, { onFinish: (_item, _index, result) => done(result) }),
    close: () => parallel.close(),
  };
}

function oneByOne(pool) {
  return {
    each: (items, done) => Promise.all(items.map(async (item) => done(await pool.run(item)))),
    close: () => pool.close(),
  };
}

function since(time) {
  return Number(time - start) / 1e6;
}

function compare(a, b) {
  return a < b ? -1 : Number(a > b);
}
