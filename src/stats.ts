/** What `Parallel.stats()` tells. */
import type { StartMethod } from "./worker.js";

/** What a `Parallel` is doing. */
export interface ParallelStats {
  /** How children come to be; `undefined` before the first item or `ready()`. */
  readonly startMethod: StartMethod | undefined;
  /** Why it is not `fork`, when nobody asked for `spawn`. */
  readonly reason: string | undefined;
  /** Calls that have not ended. */
  readonly calls: number;
  /** Items that have succeeded and failed, over all calls. */
  readonly items: { readonly succeeded: number; readonly failed: number };
  /** Own processes that are alive: the fork server, or spawned children and their reaper. */
  readonly pids: readonly number[];
}
