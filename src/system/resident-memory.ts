/** How much memory a process holds. */
import { readFileSync } from "node:fs";

/** Returns VmRSS of proc_pid_status(5), in bytes; `undefined` if it cannot be read. */
export function residentMemory(pid: number): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) * 1024;
  } catch {
    return undefined;
  }
}
