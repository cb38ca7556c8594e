/** What a process takes of the machine, by /proc. */
import { readdirSync, readFileSync } from "node:fs";

export interface Footprint {
  readonly descriptors: number;
  readonly threads: number;
  /** Pages that only this process has written to, in bytes. */
  readonly dirty: number;
  /** User and system time, in ms. */
  readonly cpu: number;
}

export function footprintOf(pid: number): Footprint {
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
    dirty: dirtyOf(pid),
    cpu: cpuOf(pid),
  };
}

function dirtyOf(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
  return 1024 * Number(/^Private_Dirty:\s+(\d+) kB$/m.exec(rollup)![1]);
}

/** The kernel counts in hundredths of a second. */
function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
}
