/**
 * The owner of a file or directory: a mark in its name shows other processes whether the owner still runs.
 *
 * The mark is `<pid>-<monotonic ns>-<start>-<place>`. Pid and monotonic time together never repeat while a system is
 * up. `start` and `place` show whether the owner still runs: a pid is reused, but not with the same start time.
 */
import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { isAlive } from "./is-alive.js";
import { monotonicNanoseconds } from "./monotonic.js";

const MARK = /^(\d+)-\d+-(\w+)-([0-9a-f]{8})$/;

/** Prefix of directories that are swept once their owner has ended. */
export const OWNED_PREFIX = "forkmap-";

/** Returns a new name for such a directory of this process. */
export function ownedName(): string {
  return `${OWNED_PREFIX}${ownerMark()}`;
}

/** Returns a new mark of this process. */
export function ownerMark(): string {
  const { pid } = process;
  // Read once, as every call makes a mark; but a forked child has this variable of its fork server.
  if (self?.pid !== pid) self = { pid, start: look(pid)?.start ?? "unknown" };
  return `${pid}-${monotonicNanoseconds()}-${self.start}-${place()}`;
}

let self: { readonly pid: number; readonly start: string } | undefined;

export interface Owner {
  readonly pid: number;
  /** `elsewhere`: the pid belongs to another host or pid namespace, so the owner may be alive or gone. */
  readonly state: "alive" | "gone" | "elsewhere";
}

/** Returns the owner of `mark`; `undefined` if `mark` is no mark. */
export function ownerOf(mark: string): Owner | undefined {
  const match = MARK.exec(mark);
  if (!match) return undefined;
  const [, digits, start, where] = match;
  const pid = Number(digits);
  // The directory is shared between hosts or containers.
  if (where !== place()) return { pid, state: "elsewhere" };
  const now = look(pid);
  const gone = now
    ? now.ended || (start !== "unknown" && start !== now.start)
    : // Not Linux, or /proc hides the process.
      !isAlive(pid);
  return { pid, state: gone ? "gone" : "alive" };
}

/** Reads /proc/<pid>/stat, see proc_pid_stat(5): Linux only. */
function look(pid: number): { start: string; ended: boolean } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name, in parentheses, may itself contain spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Clock ticks since boot, field 22.
    const start = fields[19]!;
    // A zombie, which may never be reaped (in a container without an init), unless it has other threads (field 20).
    const ended = (fields[0] === "Z" || fields[0] === "X") && fields[17] === "1";
    return { start, ended };
  } catch {
    return undefined;
  }
}

let cachedPlace: string | undefined;

/** Returns a hash of where a pid is valid: this boot of this host, in this pid namespace. */
function place(): string {
  if (cachedPlace) return cachedPlace;
  const parts = [hostname()];
  try {
    parts.push(readFileSync("/proc/sys/kernel/random/boot_id", "latin1"));
    parts.push(readlinkSync("/proc/self/ns/pid"));
  } catch {
    // Not Linux: only the host name is known.
  }
  cachedPlace = createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 8);
  return cachedPlace;
}
