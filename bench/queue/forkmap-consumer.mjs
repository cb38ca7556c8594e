/**
 * A consumer of forkmap, as a program of its own: `node forkmap-consumer.mjs <kind> <queue> <connection as JSON>`. It tells its parent when
 * it is ready, and ends with it.
 */
import { QueueWorker } from "forkmap/bullmq";
import { Shout, ShoutJob } from "./forkmap-workers.mjs";

const CHILDREN = 2;
const kinds = {
  batches: () => open(new Shout(), { prefetch: 20 }),
  single: () => open(new Shout(), {}),
  "pool: false": () => open(new ShoutJob(), { pool: false }),
};

const [kind, queue, connection] = process.argv.slice(2);
process.once("disconnect", () => process.exit());
const worker = kinds[kind]();
const done = worker.run();
await Promise.race([worker.ready(), done]);
process.send("ready");
await done;

function open(instance, options) {
  return new QueueWorker([instance], {
    connection: JSON.parse(connection),
    queues: [queue],
    processes: CHILDREN,
    ...options,
  });
}
