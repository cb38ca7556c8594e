/** The operation `memory_sample`: what is allocated and what of it is kept, by package, file, location and class. */
import { performance } from "node:perf_hooks";
import type { Session } from "node:inspector/promises";
import { sampleAllocations } from "./allocation-sampling.js";
import { abandonTracking, startTracking, stopTracking } from "./allocation-tracking.js";
import type { Diagnostic } from "./diagnostic.js";
import { elapse } from "./elapse.js";
import { claimHeap } from "./heap-claim.js";
import { inspect } from "./inspection.js";
import { TOP } from "./memory-report.js";

const DURATION_MS = 10_000;
/** V8's own default. */
const INTERVAL_BYTES = 32 * 1024;

interface MemorySampleArgs {
  /** In ms. */
  readonly duration?: number;
  /**
   * `sampling` is for programs in production: estimates, at little cost. `exact` has every object, with numbers, sizes by class and
   * strings, but all but stops a program with a large heap, and needs some 15 times the memory of the heap at the end: see
   * allocation-tracking.ts.
   */
  readonly mode?: "sampling" | "exact";
  /** Average number of bytes from one sample to the next. */
  readonly interval?: number;
  /** `false`: without the classes of a sample, whose objects are counted twice, which stops the program for 1 s per 800,000 objects. */
  readonly classes?: boolean;
  /** Number of lines of each part of the report. */
  readonly top?: number;
}

/**
 * Returns `{ mode, duration, took, memory, allocated, retained }`; `took` includes what comes before and after the recording. In mode `sampling` each of the last two has a `duration` of its own, as they are
 * sampled one after the other; classes are those of retained objects, with the number by which they have grown. No mode tells the
 * classes of what is not retained, which V8 does not note.
 */
export const memorySample: Diagnostic = async ({ args, signal }) => {
  const {
    duration = DURATION_MS,
    mode = "sampling",
    interval = INTERVAL_BYTES,
    classes = true,
    top = TOP,
  } = args as MemorySampleArgs;
  const release = claimHeap("memory_sample");
  try {
    return await inspect(async (session) => {
      const before = process.memoryUsage();
      const began = performance.now();
      const found =
        mode === "exact"
          ? await track(session, duration, top, signal)
          : await sampleAllocations(session, { duration, interval, classes, top }, signal);
      const took = Math.round(performance.now() - began);
      const memory = { before, after: process.memoryUsage() };
      return { mode, duration, took, memory, ...found };
    });
  } finally {
    release();
  }
};

async function track(session: Session, duration: number, top: number, signal: AbortSignal) {
  await startTracking(session);
  try {
    await elapse(duration, signal);
  } catch (error) {
    await abandonTracking(session);
    throw error;
  }
  return await stopTracking(session, top);
}
