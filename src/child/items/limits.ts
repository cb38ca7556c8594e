/** Sets the kernel's resource limits on a child, from inside the child. */
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
  // RLIMIT_DATA, not RLIMIT_AS: V8 reserves gigabytes of address space that it never uses. RLIMIT_DATA counts private
  // writable memory. What the child already has is added, so that the limit applies to what the child allocates itself.
  if (memory !== undefined) limit("memory", RLIMIT_DATA, privateMemory() + memory);
  // SIGXCPU at the soft limit; SIGKILL a second later, in case the worker handles SIGXCPU.
  if (cpuSeconds !== undefined) limit("cpuSeconds", RLIMIT_CPU, cpuSeconds, cpuSeconds + 1);
  if (openFiles !== undefined) limit("openFiles", RLIMIT_NOFILE, openFiles);
}

/** Returns VmData of proc_pid_status(5), in bytes. */
function privateMemory(): number {
  return Number(/^VmData:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))![1]) * 1024;
}
