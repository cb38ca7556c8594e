/** forkmap: `Parallel.map` with real processes. What is public, and nothing else. */
export { type Command, CommandWorker } from "./command-worker.js";
export type { CallMessage, ChildMessage, ItemMessage } from "./diagnostics.js";
export {
  ClosedError,
  DeadChildError,
  type Death,
  ItemError,
  type ItemFacts,
  ItemTimeoutError,
  JournalError,
  LaunchError,
  ParallelError,
  ProtocolError,
  ResultTypeError,
  StartError,
  type Usage,
  WorkerModuleError,
} from "./errors.js";
export type { HistogramSummary } from "./histogram.js";
export type {
  CallOptions,
  FinishInfo,
  Halt,
  OutputMode,
  ParallelOptions,
  RetryDelay,
  StreamOptions,
} from "./options.js";
export { Parallel } from "./parallel.js";
export { processorCount } from "./processor-count.js";
export type { Limits } from "./protocol.js";
export type { ParallelStats, SlotStats } from "./stats.js";
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
