/** How much memory this process could still get. */
import { readFileSync } from "node:fs";
import { freemem } from "node:os";
import path from "node:path";

/**
 * The bytes that this process, with its children, could still get: what the system can give without swapping, at most
 * what its cgroup and those above it leave.
 *
 * @param root - where /proc and /sys are found
 */
export function freeMemory(root = "/"): number {
  const available = fieldOf(read(root, "proc/meminfo"), "MemAvailable:");
  if (available === undefined) return process.availableMemory?.() ?? freemem();
  const lines = (read(root, "proc/self/cgroup") ?? "").split("\n");
  return Math.max(0, Math.min(available * KIB, ...lines.map((line) => leftByCgroups(root, line))));
}

const KIB = 1024;

/** What the cgroups that hold this process leave, from its own one up to the root of a hierarchy; see cgroups(7). */
function leftByCgroups(root: string, line: string): number {
  // "0::/path" is version 2; "4:memory:/path" version 1, which may be mounted beside it.
  const [, controllers, own] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
  if (controllers === undefined || own === undefined) return Infinity;
  const version = controllers === "" ? VERSION_2 : VERSION_1;
  if (version === VERSION_1 && !controllers.split(",").includes("memory")) return Infinity;
  const mount = path.join(root, version.mount);
  return Math.min(...upwards(own).map((name) => leftBy(path.join(mount, name), version)));
}

/** Where memory is limited, and the names of the files that tell. */
interface Version {
  readonly mount: string;
  readonly limits: readonly string[];
  readonly usage: string;
  readonly inactiveFile: string;
}

const VERSION_2: Version = {
  mount: "sys/fs/cgroup",
  // Above memory.high a process is not killed but hardly runs.
  limits: ["memory.max", "memory.high"],
  usage: "memory.current",
  inactiveFile: "inactive_file",
};

const VERSION_1: Version = {
  mount: "sys/fs/cgroup/memory",
  limits: ["memory.limit_in_bytes"],
  usage: "memory.usage_in_bytes",
  inactiveFile: "total_inactive_file",
};

/**
 * A path and all above it. In a container the path may be the host's, and then only the last of these is there: what is
 * mounted is the container's own cgroup.
 */
function upwards(own: string): string[] {
  const names = own.split("/").filter((name) => name !== "" && name !== "..");
  return Array.from({ length: names.length + 1 }, (_, above) =>
    names.slice(0, names.length - above).join("/"),
  );
}

function leftBy(directory: string, { limits, usage, inactiveFile }: Version): number {
  // A file that is not there gives NaN, and so does "max": no limit.
  const numbers = limits.map((name) => Number(read(directory, name) ?? Number.NaN));
  const limit = Math.min(...numbers.filter((each) => each >= 0));
  if (limit === Infinity) return Infinity;
  const used = Number(read(directory, usage) ?? 0);
  // Cached files that nobody has used for a while count as usage, but are dropped as soon as memory is needed.
  return limit - used + (fieldOf(read(directory, "memory.stat"), inactiveFile) ?? 0);
}

/** The number after a word that begins a line. */
function fieldOf(text: string | undefined, word: string): number | undefined {
  const line = text?.split("\n").find((each) => each.startsWith(`${word} `));
  return line === undefined ? undefined : Number.parseInt(line.slice(word.length), 10);
}

function read(directory: string, name: string): string | undefined {
  try {
    return readFileSync(path.join(directory, name), "latin1").trim();
  } catch {
    return undefined;
  }
}
