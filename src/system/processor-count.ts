/**
 * The folder holds what the machine and Node say: processors, memory, clock, limits, permissions, owners of files.
 * Here: how many processors this process may use.
 */
import { availableParallelism } from "node:os";
import { cgroupsOf, readIn } from "./cgroup.js";

/**
 * Returns the number of processors this process may use: its CPU affinity, at most what its cgroups allow.
 *
 * @remarks
 * The environment variable `PARALLEL_PROCESSOR_COUNT` overrides it, as in Ruby's parallel gem.
 *
 * @returns a whole number, at least 1
 *
 * @throws TypeError when `PARALLEL_PROCESSOR_COUNT` is set to anything but a whole number of at least 1
 *
 * @example
 * ```ts
 * import { processorCount } from "forkmap";
 *
 * console.log(processorCount() >= 1); // true
 * ```
 */
export function processorCount(): number {
  const wanted = process.env["PARALLEL_PROCESSOR_COUNT"];
  if (wanted !== undefined && wanted !== "") {
    if (/^[1-9]\d*$/.test(wanted)) return Number(wanted);
    throw new TypeError(
      `Expected the environment variable PARALLEL_PROCESSOR_COUNT to be a whole number of at least 1, got "${wanted}"`,
    );
  }
  return usableProcessors();
}

/** @internal The same, whatever the environment variable says. */
export function usableProcessors(): number {
  return Math.max(1, Math.min(availableParallelism(), Math.ceil(cgroupQuota())));
}

/**
 * Returns the processors granted by the cgroups of this process, which Node 20's libuv ignores. The quota of each
 * cgroup, from the innermost up, is shared by all cgroups below it.
 *
 * @internal
 *
 * @param root - directory that holds proc/ and sys/
 */
export function cgroupQuota(root = "/"): number {
  return Math.min(...cgroupsOf("cpu", root).map(quotaOf), Infinity);
}

/** Returns the quota in processors. No quota is "max" in version 2, and -1 in version 1. */
function quotaOf(directory: string): number {
  const both = readIn(directory, "cpu.max")?.split(" ") ?? [
    readIn(directory, "cpu.cfs_quota_us"),
    readIn(directory, "cpu.cfs_period_us"),
  ];
  const [quota, period] = both.map(Number);
  return quota! > 0 && period! > 0 ? quota! / period! : Infinity;
}
