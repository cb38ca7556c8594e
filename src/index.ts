/** forkmap: `Parallel.map` with real processes. Exports the public API, and nothing else. */
export { type Command, CommandWorker } from "./worker/command-worker.js";
export type { CallMessage, ChildMessage, ItemMessage } from "./observe/diagnostics.js";
export {
  ClosedError,
  DeadChildError,
  type Death,
  EngineError,
  ItemError,
  type ItemFacts,
  ItemTimeoutError,
  JournalError,
  LaunchError,
  ParallelError,
  ProtocolError,
  QueueFullError,
  ResultTypeError,
  StartError,
  type Usage,
  WorkerModuleError,
} from "./errors.js";
export type { HistogramSummary } from "./observe/histogram.js";
export type {
  CallOptions,
  Engine,
  FinishInfo,
  Halt,
  OutputMode,
  ParallelOptions,
  RetryDelay,
  RunOptions,
  RunVerb,
  StreamOptions,
} from "./options.js";
export { Parallel } from "./parallel.js";
export { processorCount } from "./system/processor-count.js";
export type { Limits } from "./options.js";
export type { ParallelStats, QueueStats, SlotStats } from "./observe/stats.js";
export type { WorkerFunction } from "./worker/function-worker.js";
export {
  type AnyWorker,
  type Frame,
  type Instance,
  JsonWorker,
  type Kind,
  ParallelWorker,
  type StartMethod,
  type TaskContext,
} from "./worker/worker.js";
