/**
 * The diagnostic operations of a child, by name. Each module is loaded when its operation is first asked for, so a child that nobody looks into loads
 * none, nor the inspector that some use.
 */
import type { Diagnostic } from "./diagnostic.js";

export const DIAGNOSTICS: ReadonlyMap<string, () => Promise<Diagnostic>> = new Map<
  string,
  () => Promise<Diagnostic>
>([
  ["status", async () => (await import("./status.js")).status],
  ["thread_dump", async () => (await import("./thread-stacks.js")).threadDump],
  ["scheduler_dump", async () => (await import("./scheduler-dump.js")).schedulerDump],
  ["memory_dump", async () => (await import("./memory-dump.js")).memoryDump],
  ["memory_sample", async () => (await import("./memory-sample.js")).memorySample],
  [
    "allocation_trace_start",
    async () => (await import("./allocation-trace.js")).allocationTraceStart,
  ],
  [
    "allocation_trace_stop",
    async () => (await import("./allocation-trace.js")).allocationTraceStop,
  ],
  ["cpu_profile", async () => (await import("./cpu-profile.js")).cpuProfile],
  ["garbage_profile_start", async () => (await import("./garbage-profile.js")).garbageProfileStart],
  ["garbage_profile_stop", async () => (await import("./garbage-profile.js")).garbageProfileStop],
]);
