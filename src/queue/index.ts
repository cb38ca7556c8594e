/** forkmap/bullmq: maps over many machines, and what serves them. Exports the public API of this entry, and nothing else. */
export { bullmq } from "./bullmq/engine.js";
export type { BullmqOptions, Connection } from "./bullmq/engine-options.js";
export { configure } from "./configure.js";
export type { ItemCounts, JobCounts } from "./job-counts.js";
export type { LogFacts, Logger } from "./logger.js";
export type { Choice, Dispatcher, Middleware, ServedJob } from "./middleware.js";
export { type NamedWorker, QueueWorker, type QueueWorkerStats } from "./queue-worker.js";
export type { SessionState } from "./serve-session.js";
export type { QueueWorkerOptions } from "./worker-options.js";
