/**
 * A consumer of plain BullMQ, as a program of its own: `node bullmq-consumer.mjs <kind> <queue> <connection as JSON>`. It tells its parent
 * when it is ready, and ends with it.
 */
import { fileURLToPath } from "node:url";
import { Worker } from "bullmq";
import { shout } from "./work.mjs";

const SANDBOXED = fileURLToPath(new URL("sandboxed.mjs", import.meta.url));
const AT_ONCE = 20;
const CHILDREN = 2;
const kinds = {
  batches: () => open(async (job) => job.data.items.map(shout), AT_ONCE),
  single: () => open(async (job) => shout(job.data.text), AT_ONCE),
  sandboxed: () => open(SANDBOXED, CHILDREN),
  "sandboxed, killed": () => killingChildren(open(SANDBOXED, CHILDREN)),
};

const [kind, queue, connection] = process.argv.slice(2);
process.once("disconnect", () => process.exit());
const worker = kinds[kind]();
await worker.waitUntilReady();
process.send("ready");

function open(processor, concurrency) {
  const options = { connection: JSON.parse(connection), concurrency };
  return new Worker(queue, processor, options)
    .on("error", fail)
    .on("failed", (_, error) => fail(error));
}

/** BullMQ has no option for it: a child is killed where it would be given back to the pool, so that no job finds a used one. */
function killingChildren(opened) {
  const { childPool } = opened;
  childPool.release = (child) => void childPool.kill(child, "SIGKILL").catch(fail);
  return opened;
}

function fail(error) {
  console.error(error);
  process.exit(1);
}
