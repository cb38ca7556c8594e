/** How much memory this process can still get. */
import { freemem } from "node:os";
import { cgroupsOf, readIn as read } from "./cgroup.js";

/**
 * Returns the bytes that this process and its children can still get: what the system can provide without swapping, at
 * most what its cgroups have left.
 *
 * @param root - directory that holds proc/ and sys/
 */
export function freeMemory(root = "/"): number {
  const available = fieldOf(read(root, "proc/meminfo"), "MemAvailable:");
  if (available === undefined) return process.availableMemory?.() ?? freemem();
  const left = cgroupsOf("memory", root).map(leftBy);
  return Math.max(0, Math.min(available * KIB, ...left));
}

const KIB = 1024;

/** Names in version 2 and in version 1. Above memory.high a process is not killed but throttled. */
const LIMITS = ["memory.max", "memory.high", "memory.limit_in_bytes"];
const USAGES = ["memory.current", "memory.usage_in_bytes"];
/** Where both exist, the first includes the cgroups below. */
const INACTIVE_FILES = ["total_inactive_file", "inactive_file"];

function leftBy(directory: string): number {
  // A missing file and "max" both give NaN: no limit.
  const numbers = LIMITS.map((name) => Number(read(directory, name) ?? Number.NaN));
  const limit = Math.min(...numbers.filter((each) => each >= 0));
  if (limit === Infinity) return Infinity;
  const used = USAGES.map((name) => read(directory, name)).find((each) => each !== undefined) ?? 0;
  const stat = read(directory, "memory.stat");
  const inactive = INACTIVE_FILES.map((name) => fieldOf(stat, name));
  // Inactive page cache counts as usage, but the kernel drops it as soon as memory is needed.
  return limit - Number(used) + (inactive.find((each) => each !== undefined) ?? 0);
}

/** Returns the number after a word that begins a line. */
function fieldOf(text: string | undefined, word: string): number | undefined {
  const line = text?.split("\n").find((each) => each.startsWith(`${word} `));
  return line === undefined ? undefined : Number.parseInt(line.slice(word.length), 10);
}
