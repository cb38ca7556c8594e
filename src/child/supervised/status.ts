/** The operation `status`: figures of the child that take less than a ms to read. */
import { performance } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import { isMainThread, threadId } from "node:worker_threads";
import type { Diagnostic } from "./diagnostic.js";

/**
 * Times in ms, CPU times in us as Node has them, sizes in bytes. In a thread those of the whole process, but for `heap` and
 * `eventLoop`. In a forked child `uptime` and `eventLoop` include those of its fork server.
 */
export const status: Diagnostic = async () => {
  const heap = getHeapStatistics();
  return {
    version: process.version,
    pid: process.pid,
    thread: isMainThread ? null : threadId,
    uptime: Math.round(process.uptime() * 1000),
    memory: process.memoryUsage(),
    heap: {
      used: heap.used_heap_size,
      total: heap.total_heap_size,
      limit: heap.heap_size_limit,
      malloced: heap.malloced_memory,
      external: heap.external_memory,
      // More than one, or a detached one, is a leak in most programs.
      nativeContexts: heap.number_of_native_contexts,
      detachedContexts: heap.number_of_detached_contexts,
    },
    cpu: process.cpuUsage(),
    resourceUsage: process.resourceUsage(),
    activeResources: countedResources(),
    eventLoop: performance.eventLoopUtilization(),
  };
};

/** What keeps the event loop alive, by type. */
export function countedResources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const type of process.getActiveResourcesInfo()) counts[type] = (counts[type] ?? 0) + 1;
  return counts;
}
