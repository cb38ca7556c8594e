/**
 * Many forked items, a child each, four at a time: `node test/libraries/soak.mjs [count]`, 100,000 by default. Each allocates,
 * compresses, hashes, and waits for timers and the thread pool; the expected result is computed here as well. Exits
 * with 1 if a result is wrong or missing, an id repeats, or children were not forked.
 */
import { Parallel } from "forkmap";
import { Soak, soak, words } from "./soak-worker.mjs";

const CONCURRENCY = 4;
/** An item takes a few ms; a child that hangs is reported as a failure. */
const TIMEOUT_MS = 60_000;
/** Few enough that not all results and expected values are in memory at once. */
const CALL_ITEMS = 10_000;
const SHOWN = 5;

const [argument = "100000"] = process.argv.slice(2);
const count = Number(argument);
if (!Number.isInteger(count) || count < 1) {
  console.error(`Expected a number of items, got "${argument}"`);
  process.exit(2);
}

const parallel = new Parallel(new Soak(), { concurrency: CONCURRENCY, timeout: TIMEOUT_MS });
const shared = words();
const ids = new Set();
const faults = { wrong: 0, failed: 0, repeated: 0 };
let done = 0;
let forkedMs = 0;

for (let first = 0; first < count; first += CALL_ITEMS) {
  const items = Array.from({ length: Math.min(CALL_ITEMS, count - first) }, (_, i) => first + i);
  const start = performance.now();
  const settled = await parallel.mapSettled(items);
  forkedMs += performance.now() - start;
  for (const [i, n] of items.entries()) await check(n, settled[i]);
  done += items.length;
  const peak = Math.round(process.memoryUsage().rss / 2 ** 20);
  console.error(`${done} of ${count}, ${rate()} items/s forked, ${peak} MiB here`);
}
const { startMethod } = parallel.stats();
await parallel.close();

const { wrong, failed, repeated } = faults;
const right = done - wrong - failed;
console.log(
  `Node ${process.version}, ${startMethod}: ${done} items, ${right} right, ${wrong} wrong, ${failed} without a result, ${repeated} ids repeated; ${rate()} items/s`,
);
process.exitCode = right === count && repeated === 0 && startMethod === "fork" ? 0 : 1;

async function check(n, outcome) {
  if (outcome?.status !== "fulfilled") return fault("failed", `item ${n}: ${outcome?.reason}`);
  const { result, id } = outcome.value;
  const expected = await soak(n, shared);
  if (result !== expected) fault("wrong", `item ${n}: expected ${expected}, got ${result}`);
  if (ids.has(id)) fault("repeated", `item ${n}: ${id} came before`);
  ids.add(id);
}

function fault(kind, text) {
  faults[kind] += 1;
  if (faults[kind] <= SHOWN) console.error(text);
}

function rate() {
  return Math.round(done / (forkedMs / 1000));
}
