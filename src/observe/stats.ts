/**
 * The folder holds what others can see of calls: statistics, traces, progress, diagnostics channels. Here: what
 * `Parallel.stats()` returns, and the meter that counts it.
 */
import { readFileSync } from "node:fs";
import type { Kind } from "../worker/worker.js";
import { Histogram, type HistogramSummary } from "./histogram.js";

/** What a slot has done, over all calls. */
export interface SlotStats {
  readonly num: number;
  /** Attempts that succeeded. */
  readonly items: number;
  /** Attempts that failed. */
  readonly errors: number;
  /** Children after its first. */
  readonly restarts: number;
  /** Time its items took, in ms. */
  readonly busy: number;
  /** Process id of its child, once known; that of a child for one item is known when the child has ended. */
  readonly pid: number | undefined;
  /** Resident memory of its child, in bytes, including pages shared with the fork server. Only on Linux. */
  readonly memory: number | undefined;
}

/** The calls of `run` that wait: for a slot, or in a slot for the items before them. */
export interface QueueStats {
  /** How many wait. Before there are children, all but those that can then begin. */
  readonly waiting: number;
  /** How long the one that came first has waited, in ms; 0 if none waits. */
  readonly oldest: number;
  /** How many were refused with a `QueueFullError`. */
  readonly refused: number;
  /** How long items waited until they were begun for the first time, in ms, over all calls so far. */
  readonly waitTime: HistogramSummary;
}

/** What the slots of a `Parallel` have done. */
type CountsOfSlots = Pick<ParallelStats, "slots" | "runTime" | "waitTime">;

/** What a `Parallel` is doing. */
export interface ParallelStats {
  /** How children are started; `undefined` before the first item or `ready()`. */
  readonly startMethod: Kind | undefined;
  /** Why the start method is not `fork`; `undefined` if `spawn` was requested. */
  readonly reason: string | undefined;
  /** With an `engine`: how many machines serve the worker. */
  readonly machines?: number | undefined;
  /** Calls that have not ended, each `run` included. */
  readonly calls: number;
  /** Items that succeeded and items that failed, over all calls. */
  readonly items: { readonly succeeded: number; readonly failed: number };
  /** The calls of `run` that wait. */
  readonly queue: QueueStats;
  /** By num. */
  readonly slots: readonly SlotStats[];
  /** How long attempts took in their children, in ms. */
  readonly runTime: HistogramSummary;
  /** How long items waited in a slot before they began, in ms: for a child, or for other items of their batch. */
  readonly waitTime: HistogramSummary;
  /** The same for threads, once `mapThreads` or `eachThread` has been called; `pid` is that of this process. */
  readonly threads?: (CountsOfSlots & Pick<ParallelStats, "queue">) | undefined;
  /** Processes of this `Parallel` that are alive: the fork server, or spawned children or programs and their reaper. */
  readonly pids: readonly number[];
}

interface SlotCount {
  items: number;
  errors: number;
  children: number;
  busy: number;
  pid: number | undefined;
}

/** Counts what the calls of a `Parallel` do. */
export class Meter {
  readonly #slots: SlotCount[] = [];
  readonly #runTime = new Histogram();
  readonly #waitTime = new Histogram();

  /** Counts an attempt that has ended: it ran for `ms` and waited for `waitMs` before. */
  ran(num: number, ms: number, waitMs: number, isOk: boolean): void {
    const slot = (this.#slots[num] ??= newCount());
    if (isOk) slot.items += 1;
    else slot.errors += 1;
    slot.busy += ms;
    this.#runTime.record(ms);
    this.#waitTime.record(waitMs);
  }

  childStarted(num: number): void {
    (this.#slots[num] ??= newCount()).children += 1;
  }

  /** Sets the process id of the child in a slot; `undefined` when the child has ended. */
  child(num: number, pid: number | undefined): void {
    (this.#slots[num] ??= newCount()).pid = pid;
  }

  stats(): CountsOfSlots {
    return {
      slots: this.#slots.map(({ items, errors, children, busy, pid }, num) => ({
        num,
        items,
        errors,
        restarts: Math.max(0, children - 1),
        busy,
        pid,
        memory: pid === undefined ? undefined : residentMemory(pid),
      })),
      runTime: this.#runTime.summary(),
      waitTime: this.#waitTime.summary(),
    };
  }
}

function newCount(): SlotCount {
  return { items: 0, errors: 0, children: 0, busy: 0, pid: undefined };
}

/** Returns VmRSS of proc_pid_status(5), in bytes; `undefined` if it cannot be read. */
export function residentMemory(pid: number): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) * 1024;
  } catch {
    return undefined;
  }
}
