/** What `Parallel.stats()` tells, and how it is counted. */
import { residentMemory } from "../system/resident-memory.js";
import { Histogram, type HistogramSummary } from "./histogram.js";
import type { Kind } from "../worker/worker.js";

/** What a slot has done, over all calls. */
export interface SlotStats {
  readonly num: number;
  /** Attempts at items that have succeeded, and that have failed. */
  readonly items: number;
  readonly errors: number;
  /** Children after its first. */
  readonly restarts: number;
  /** Time its items took, in ms. */
  readonly busy: number;
  /** Process id of its child, once it is known; a child for one item is known when it has ended. */
  readonly pid: number | undefined;
  /** Resident memory of its child, in bytes; what it shares with the fork server counts. Only on Linux. */
  readonly memory: number | undefined;
}

/** What the slots of a `Parallel` have done. */
type CountsOfSlots = Pick<ParallelStats, "slots" | "runTime" | "waitTime">;

/** What a `Parallel` is doing. */
export interface ParallelStats {
  /** How children come to be; `undefined` before the first item or `ready()`. */
  readonly startMethod: Kind | undefined;
  /** Why it is not `fork`, when nobody asked for `spawn`. */
  readonly reason: string | undefined;
  /** Calls that have not ended. */
  readonly calls: number;
  /** Items that have succeeded and failed, over all calls. */
  readonly items: { readonly succeeded: number; readonly failed: number };
  /** By num. */
  readonly slots: readonly SlotStats[];
  /** How long attempts took in their children, in ms. */
  readonly runTime: HistogramSummary;
  /** How long items waited between being taken for a slot and being begun, in ms: for a child, or for others of their batch. */
  readonly waitTime: HistogramSummary;
  /** The same of threads, once `mapThreads` or `eachThread` has been called; the process of their slots is this one. */
  readonly threads?: CountsOfSlots | undefined;
  /** Own processes that are alive: the fork server, or spawned children or programs and their reaper. */
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

  /** An attempt has ended, after so long a wait. */
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

  /** The process in a slot, `undefined` when it is gone. */
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
