/**
 * The operations `garbage_profile_start` and `garbage_profile_stop`: how long the collections of garbage take, and what they bring. V8 keeps
 * 3 KB for each, so it ends by itself in case nobody stops it; the report is kept until it is asked for.
 */
import { performance } from "node:perf_hooks";
import { GCProfiler, type GCProfilerResult } from "node:v8";
import { clearTimeout, setTimeout } from "../../system/timers.js";
import type { Diagnostic } from "./diagnostic.js";

const LONGEST_MS = 600_000;
/** Collections whose statistics are returned whole, unless told. */
const TOP = 100;
const US_PER_MS = 1000;

interface Pauses {
  count: number;
  /** In ms. */
  total: number;
  /** In ms. */
  max: number;
  /** Bytes by which the heap was smaller afterwards. */
  reclaimed: number;
}

interface Profile {
  readonly timer: NodeJS.Timeout;
  /** Ends it when it is first called. */
  result(): { result: GCProfilerResult; duration: number };
}

let profile: Profile | undefined;

/** Arguments: `duration` in ms, after which it ends by itself. */
export const garbageProfileStart: Diagnostic = async ({ args }) => {
  const { duration = LONGEST_MS } = args as { duration?: number };
  if (profile) {
    throw new Error(
      "Expected no garbage profile in this child, but garbage_profile_start has begun one: end it with garbage_profile_stop",
    );
  }
  const profiler = new GCProfiler();
  const began = performance.now();
  profiler.start();
  let ended: ReturnType<Profile["result"]> | undefined;
  const result = () =>
    (ended ??= { result: profiler.stop(), duration: Math.round(performance.now() - began) });
  profile = { timer: setTimeout(result, duration).unref(), result };
  return { duration };
};

/**
 * Arguments: `top`, of how many collections the statistics are returned whole, as V8 has them: the longest ones, in the order of time.
 * Returns `{ duration, pauses, byKind, statistics, omitted }`.
 */
export const garbageProfileStop: Diagnostic = async ({ args }) => {
  const { top = TOP } = args as { top?: number };
  if (!profile) {
    throw new Error(
      "Expected a garbage profile in this child, but there is none: begin it with garbage_profile_start",
    );
  }
  const { timer, result: end } = profile;
  profile = undefined;
  clearTimeout(timer);
  const { result, duration } = end();
  const pauses = nothing();
  const byKind: Record<string, Pauses> = {};
  for (const { gcType, cost, beforeGC, afterGC } of result.statistics) {
    const reclaimed = beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize;
    for (const sum of [pauses, (byKind[gcType] ??= nothing())]) {
      sum.count += 1;
      sum.total += cost / US_PER_MS;
      sum.max = Math.max(sum.max, cost / US_PER_MS);
      sum.reclaimed += reclaimed;
    }
  }
  const longest = new Set(result.statistics.toSorted((a, b) => b.cost - a.cost).slice(0, top));
  const statistics = result.statistics.filter((each) => longest.has(each));
  return {
    duration,
    pauses,
    byKind,
    statistics,
    omitted: result.statistics.length - statistics.length,
  };
};

function nothing(): Pauses {
  return { count: 0, total: 0, max: 0, reclaimed: 0 };
}
