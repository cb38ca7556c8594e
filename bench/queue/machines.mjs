/**
 * Simulated machines, many in one program: `node machines.mjs <settings as JSON>`. Each has all that a machine has at the server (its
 * connections, heartbeat, locks, subscription, fetches), and no children: an item is a pause, or nothing at all. The program tells its parent
 * when all serve, and ends with it.
 */
import { createRequire, syncBuiltinESMExports } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { bullmq } from "forkmap/bullmq";
import { Redis } from "ioredis";
import { shout } from "./work.mjs";

/** So many are opened at a time. */
const AT_ONCE = 4;
/** Attempts to open one, on a machine that is too busy to answer in time. */
const ATTEMPTS = 20;

/** The slots of a machine: so many items at a time. */
class Lanes {
  #free;
  #waiting = [];

  constructor(count) {
    this.#free = count;
  }

  async run(item) {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((resolve) => void this.#waiting.push(resolve));
    await sleep(itemMs);
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
    return { result: shout(item) };
  }
}

/** @type {{connection: object, queue: string, machines: number, slots: number, itemMs: number, threads: boolean}} */
const { connection, queue, machines, slots, itemMs, threads } = JSON.parse(process.argv[2]);
process.once("disconnect", () => process.exit());
if (!threads) forbidThreads();
const engine = bullmq({ connection });
for (let opened = 0; opened < machines; opened += AT_ONCE) {
  const count = Math.min(AT_ONCE, machines - opened);
  await Promise.all(Array.from({ length: count }, serve));
}
process.send("ready");

async function serve() {
  const lanes = new Lanes(slots);
  // The connection of the thread that is not there.
  if (!threads) await new Redis({ ...connection, lazyConnect: true }).connect();
  const plan = {
    queues: [queue],
    workers: ["shout@1"],
    slots,
    prefetch: 2 * slots,
    retry: { min: 1000, max: 30_000, factor: 2 },
    runBatch: ({ tasks }) => Promise.all(tasks.map(({ item }) => run(item, lanes))),
    runJob: async () => undefined,
    onEvent: report,
  };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await engine.serve(plan);
    } catch (error) {
      if (error.reason !== "unreachable" || attempt === ATTEMPTS) throw error;
    }
  }
}

function run(item, lanes) {
  return itemMs === 0 ? { result: shout(item) } : lanes.run(item);
}

function report({ what, error, job }) {
  if (what !== "connected") console.error("a simulated machine:", what, error ?? job ?? "");
}

/** Without threads, the main loop keeps the locks. */
function forbidThreads() {
  const module = createRequire(import.meta.url)("node:worker_threads");
  module.Worker = function NoThread() {
    throw new Error("No threads here");
  };
  syncBuiltinESMExports();
}
