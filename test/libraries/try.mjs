/**
 * Tries one library: compares the same items spawned, in a forked child each, and in a pool of two. `run.mjs` starts it as a
 * process of its own for each library: `node try.mjs <name> <count> <file for the rows, as JSON>`.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Parallel } from "forkmap";
import { startServers } from "./servers.mjs";

/** Far more than any item here takes, even on a busy machine. */
const TIMEOUT_MS = 20_000;
/** Ends a call whose items hang, instead of waiting for the timeout of each. */
const CALL_TIMEOUT_MS = 60_000;
const CLOSE_TIMEOUT_MS = 30_000;

const [name, count, file] = process.argv.slice(2);

// A fallback to spawn is reported in the row as "how"; every other warning is shown.
process.removeAllListeners("warning");
process.on("warning", (warning) => {
  if (warning.code !== "FORKMAP_SPAWN") console.error(warning.message);
});
process.env.SCRATCH = mkdtempSync(join(tmpdir(), "forkmap-libraries-"));
process.on("exit", () => rmSync(process.env.SCRATCH, { recursive: true, force: true }));

await startServers();
const [Worker] = Object.values(await import(`./workers/${name}.mjs`));
const library = packageOf(Worker);
// Time-based ids repeat only occasionally, so more are made; they cost little.
const length = Number(count) * (Worker.ids ? 4 : 1);
const items = Array.from({ length }, (_, n) => n);

/** The result of each item in the first attempt; for ids, every id returned by any attempt. */
const known = new Map();
const rows = [];
for (const use of Worker.usedAtTopLevel ? ["top level"] : ["imported", "preload"]) {
  const spawned = Worker.oneItemPerChild ? { concurrency: 2 } : { pool: 2 };
  // Spawned first: the other attempts are compared with it.
  const spawn = await attempt(use, { ...spawned, startMethod: "spawn" });
  const child = await attempt(use, { concurrency: 4 });
  const pool = Worker.oneItemPerChild ? undefined : await attempt(use, { pool: 2 });
  rows.push({ ...library, use, child, pool, spawn });
}
writeFileSync(file, JSON.stringify(rows));
// Clients that connected at the top level would keep this program alive.
process.exit();

async function attempt(use, options) {
  const worker = Object.assign(new Worker(), { isPreloaded: use === "preload" });
  const parallel = new Parallel(worker, { ...options, timeout: TIMEOUT_MS });
  const faults = [];
  let settled = [];
  let start = performance.now();
  try {
    await parallel.ready();
    start = performance.now();
    const signal = AbortSignal.timeout(CALL_TIMEOUT_MS);
    settled = await parallel.mapSettled(items, { signal });
  } catch (error) {
    faults.push(`the call failed: ${told(error)}`);
  }
  const ms = (performance.now() - start) / items.length;
  const { startMethod, reason } = parallel.stats();
  const tally = { right: 0, wrong: 0, errors: items.length - settled.length };
  for (const [index, outcome] of settled.entries()) {
    const fault = outcome.status === "rejected" ? told(outcome.reason) : difference(index, outcome);
    const kind = fault === undefined ? "right" : outcome.status === "rejected" ? "errors" : "wrong";
    tally[kind] += 1;
    if (fault !== undefined) faults.push(`item ${index}: ${fault}`);
  }
  const isClosed = await Promise.race([parallel.close().then(() => true), later(false)]);
  if (!isClosed) faults.push(`close() took more than ${CLOSE_TIMEOUT_MS} ms`);
  return { ...tally, ms, how: startMethod, reason, faults };
}

function difference(index, { value }) {
  const text = JSON.stringify(value);
  if (text === undefined) return "no result";
  if (Worker.ids)
    return [value]
      .flat()
      .map(repetition)
      .find((each) => each !== undefined);
  const expected = known.get(index) ?? text;
  known.set(index, expected);
  return text === expected ? undefined : `expected ${excerpt(expected)}, got ${excerpt(text)}`;
}

function repetition(id) {
  if (known.has(id)) return `${excerpt(String(id))} came before`;
  known.set(id, true);
  return undefined;
}

function told(error) {
  const { name, message, cause } = error;
  return excerpt(`${name}: ${message}${cause ? ` (${cause.message ?? cause})` : ""}`);
}

function excerpt(text) {
  const line = text.replaceAll(/\s+/g, " ");
  return line.length > 240 ? `${line.slice(0, 240)}...` : line;
}

function later(value) {
  return new Promise((resolve) => {
    setTimeout(resolve, CLOSE_TIMEOUT_MS, value).unref();
  });
}

function packageOf({ package: named = name }) {
  if (named === "node") return { library: name, version: process.version };
  const manifest = new URL(`node_modules/${named}/package.json`, import.meta.url);
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));
  return { library: name.startsWith(named) ? name : named, version };
}
