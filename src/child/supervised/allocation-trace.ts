/**
 * The operations `allocation_trace_start` and `allocation_trace_stop`: the exact report of `memory_sample` over a time that the caller
 * chooses. Tracking ends by itself in case nobody stops it, as it slows the child down; the report is kept until it is asked for.
 */
import { performance } from "node:perf_hooks";
import { clearTimeout, setTimeout } from "../../system/timers.js";
import { startTracking, stopTracking } from "./allocation-tracking.js";
import type { Diagnostic } from "./diagnostic.js";
import { claimHeap } from "./heap-claim.js";
import { beginInspection, endInspection } from "./inspection.js";
import { TOP } from "./memory-report.js";

const LONGEST_MS = 60_000;

interface Trace {
  readonly timer: NodeJS.Timeout;
  /** Ends it when it is first called. */
  report(): Promise<object>;
}

let trace: Trace | undefined;

/** Arguments: `duration` in ms, after which tracking ends by itself, and `top`, the number of lines of each part of the report. */
export const allocationTraceStart: Diagnostic = async ({ args }) => {
  const { duration = LONGEST_MS, top = TOP } = args as { duration?: number; top?: number };
  if (trace) {
    throw new Error(
      "Expected no allocation trace in this child, but allocation_trace_start has begun one: end it with allocation_trace_stop",
    );
  }
  const release = claimHeap("allocation_trace_start");
  const session = beginInspection();
  try {
    const before = process.memoryUsage();
    const began = performance.now();
    await startTracking(session);
    const started = performance.now();
    let ended: Promise<object> | undefined;
    const end = async () => {
      try {
        const duration = Math.round(performance.now() - started);
        const found = await stopTracking(session, top);
        const took = Math.round(performance.now() - began);
        const memory = { before, after: process.memoryUsage() };
        return { mode: "exact", duration, took, memory, ...found };
      } finally {
        endInspection();
        release();
      }
    };
    const report = () => (ended ??= end());
    // An error is that of the call that asks for the report.
    const timer = setTimeout(() => void report().catch(() => {}), duration).unref();
    trace = { timer, report };
    return { duration };
  } catch (error) {
    endInspection();
    release();
    throw error;
  }
};

/** Returns what `memory_sample` returns in mode `exact`. */
export const allocationTraceStop: Diagnostic = async () => {
  if (!trace) {
    throw new Error(
      "Expected an allocation trace in this child, but there is none: begin it with allocation_trace_start",
    );
  }
  const { timer, report } = trace;
  trace = undefined;
  clearTimeout(timer);
  return await report();
};
