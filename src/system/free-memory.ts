/** How much memory this process could still get. */
import { freemem } from "node:os";
import { cgroupsOf, readIn as read } from "./cgroup.js";

/**
 * The bytes that this process, with its children, could still get: what the system can give without swapping, at most
 * what its cgroup and those above it leave.
 *
 * @param root - where /proc and /sys are found
 */
export function freeMemory(root = "/"): number {
  const available = fieldOf(read(root, "proc/meminfo"), "MemAvailable:");
  if (available === undefined) return process.availableMemory?.() ?? freemem();
  const left = cgroupsOf("memory", root).map(leftBy);
  return Math.max(0, Math.min(available * KIB, ...left));
}

const KIB = 1024;

/** Names in version 2 and in version 1. Above memory.high a process is not killed but hardly runs. */
const LIMITS = ["memory.max", "memory.high", "memory.limit_in_bytes"];
const USAGES = ["memory.current", "memory.usage_in_bytes"];
/** Where there are both, the first counts what is in cgroups below as well. */
const INACTIVE_FILES = ["total_inactive_file", "inactive_file"];

function leftBy(directory: string): number {
  // A file that is not there gives NaN, and so does "max": no limit.
  const numbers = LIMITS.map((name) => Number(read(directory, name) ?? Number.NaN));
  const limit = Math.min(...numbers.filter((each) => each >= 0));
  if (limit === Infinity) return Infinity;
  const used = USAGES.map((name) => read(directory, name)).find((each) => each !== undefined) ?? 0;
  const stat = read(directory, "memory.stat");
  const inactive = INACTIVE_FILES.map((name) => fieldOf(stat, name));
  // Cached files that nobody has used for a while count as usage, but are dropped as soon as memory is needed.
  return limit - Number(used) + (inactive.find((each) => each !== undefined) ?? 0);
}

/** The number after a word that begins a line. */
function fieldOf(text: string | undefined, word: string): number | undefined {
  const line = text?.split("\n").find((each) => each.startsWith(`${word} `));
  return line === undefined ? undefined : Number.parseInt(line.slice(word.length), 10);
}
