/** forkmap: `Parallel.map` with a real process for every item. What is public, and nothing else. */
export {
  ClosedError,
  DeadChildError,
  type Death,
  ItemError,
  type ItemFacts,
  ItemTimeoutError,
  LaunchError,
  ParallelError,
  ResultTypeError,
  StartError,
  type Usage,
  WorkerModuleError,
} from "./errors.js";
export type { CallOptions, FinishInfo, ParallelOptions, RetryDelay } from "./options.js";
export { Parallel } from "./parallel.js";
export { processorCount } from "./processor-count.js";
export type { Limits } from "./protocol.js";
export type { ParallelStats } from "./stats.js";
export {
  type AnyWorker,
  type Frame,
  type Instance,
  JsonWorker,
  type Kind,
  ParallelWorker,
  type StartMethod,
  type TaskContext,
} from "./worker.js";
