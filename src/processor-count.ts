/** How many processors this process may use. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/**
 * The number of processors this process may use: those it is bound to, at most what its cgroup allows.
 *
 * @remarks
 * The environment variable `PARALLEL_PROCESSOR_COUNT` overrides it, as in Ruby's parallel gem.
 *
 * @returns a whole number, at least 1
 *
 * @throws TypeError when `PARALLEL_PROCESSOR_COUNT` is set to something else than a whole number of at least 1
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
  return Math.max(1, Math.min(availableParallelism(), Math.ceil(cgroupQuota())));
}

/** Processors granted by the cgroup, which Node 20's libuv does not look at. Version 2 first, then version 1. */
function cgroupQuota(): number {
  const [quota, period] = (read("/sys/fs/cgroup/cpu.max") ?? "").split(" ").map(Number);
  if (quota && period) return quota / period;
  const quota1 = Number(read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"));
  const period1 = Number(read("/sys/fs/cgroup/cpu/cpu.cfs_period_us"));
  return quota1 > 0 && period1 > 0 ? quota1 / period1 : Infinity;
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "latin1").trim();
  } catch {
    return undefined;
  }
}
