/** Puts the kernel's limits on a child, from inside it. */
import { readFileSync } from "node:fs";
import type { Limits } from "../../options.js";
import type { Libc } from "../libc.js";

const RLIMIT_CPU = 0;
const RLIMIT_DATA = 2;
const RLIMIT_NOFILE = 7;

export function applyLimits(libc: Libc, { memory, cpuSeconds, openFiles }: Limits): void {
  const limit = (name: string, resource: number, soft: number, hard = soft) => {
    if (libc.limit(resource, soft, hard) === 0) return;
    throw new Error(`The limit ${name} of ${soft} could not be set (errno ${libc.errno()})`);
  };
  // RLIMIT_DATA, not RLIMIT_AS: V8 reserves gigabytes of address space that it never uses. It counts private writable
  // memory, so what the child begins with is added: the limit is on what it takes itself.
  if (memory !== undefined) limit("memory", RLIMIT_DATA, privateMemory() + memory);
  // SIGXCPU at the first, SIGKILL a second later for a worker that handles it.
  if (cpuSeconds !== undefined) limit("cpuSeconds", RLIMIT_CPU, cpuSeconds, cpuSeconds + 1);
  if (openFiles !== undefined) limit("openFiles", RLIMIT_NOFILE, openFiles);
}

/** VmData of proc_pid_status(5), in bytes. */
function privateMemory(): number {
  return Number(/^VmData:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))![1]) * 1024;
}
