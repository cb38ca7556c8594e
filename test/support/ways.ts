/** Every place where items run, each with a call that maps items there. */
import type { AnyWorker, Parallel, ParallelOptions } from "forkmap";
import { opened } from "./opened.js";

export interface Way {
  readonly name: string;
  readonly options: ParallelOptions<any, any>;
  /** Whether items run in threads of this process. */
  readonly inThreads?: boolean;
}

/** Places other than this process: items and results are copies there. */
export const WAYS: readonly Way[] = [
  { name: "a forked child for each item", options: { startMethod: "fork", concurrency: 2 } },
  { name: "a forked pool", options: { startMethod: "fork", pool: 2 } },
  { name: "a spawned child for each item", options: { startMethod: "spawn", concurrency: 2 } },
  { name: "a spawned pool", options: { startMethod: "spawn", pool: 1 } },
  { name: "threads", options: { concurrency: 2 }, inThreads: true },
  { name: "threads in a process", options: { pool: 1, threads: 1 } },
  { name: "fibers", options: { pool: 1, fibers: 8 } },
];

export const HERE: Way = { name: "this process", options: { pool: 0 } };

/** Maps the items in that place. */
export function mapIn(
  { options, inThreads }: Way,
  worker: AnyWorker<any, any>,
  items: readonly unknown[],
  more: ParallelOptions<any, any> = {},
): Promise<any[]> {
  const parallel: Parallel<any, any> = opened(worker, { ...options, ...more });
  return inThreads ? parallel.mapThreads(items) : parallel.mapProcesses(items);
}
