/**
 * The directory of one call, where children write results: made, removed, and swept when its owner was killed.
 *
 * Its name is `forkmap-<pid>-<monotonic ns>-<start>-<place>`: pid and monotonic time never repeat while a system is
 * up, and the last two tell whether the owner still lives: a pid is used again, but not with the same start time.
 */
import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import path from "node:path";
import tmp from "tmp-promise";
import { LaunchError } from "./errors.js";

const NAME = /^forkmap-(\d+)-\d+-(\w+)-([0-9a-f]{8})$/;

export class Scratch {
  /** Known before the directory exists, so that whoever must remove it after us can be told first. */
  readonly directory: string;
  #cleanup: (() => Promise<void>) | undefined;

  constructor(root = tmpdir()) {
    const monotonic = process.hrtime.bigint();
    const start = startTime(process.pid) ?? "unknown";
    this.directory = path.join(
      path.resolve(root),
      `forkmap-${process.pid}-${monotonic}-${start}-${place()}`,
    );
  }

  /** Makes the directory, only this user's (0700), and fails if there is one. */
  async open(): Promise<void> {
    const root = path.dirname(this.directory);
    await sweepOnce(root);
    try {
      const { cleanup } = await tmp.dir({
        tmpdir: root,
        name: path.basename(this.directory),
        mode: 0o700,
        unsafeCleanup: true,
      });
      this.#cleanup = cleanup;
    } catch (cause) {
      const { message } = cause as Error;
      throw new LaunchError(`The scratch directory could not be made in ${root}: ${message}`, {
        cause,
      });
    }
  }

  async remove(): Promise<void> {
    const cleanup = this.#cleanup;
    this.#cleanup = undefined;
    await cleanup?.();
  }
}

const swept = new Map<string, Promise<void>>();

/** Once per process and root: directories are left behind by kill -9 of both ends only, which is rare. */
function sweepOnce(root: string): Promise<void> {
  let done = swept.get(root);
  if (!done) swept.set(root, (done = sweep(root)));
  return done;
}

/** Removes what runs whose owner is certainly gone have left below `root`. */
export async function sweep(root: string): Promise<void> {
  const names = await readdir(root).catch(() => []);
  await Promise.all(
    names.filter(isOrphan).map((name) =>
      // Another run may be sweeping too, or it may belong to another user: neither is our concern.
      rm(path.join(root, name), { recursive: true, force: true }).catch(() => {}),
    ),
  );
}

function isOrphan(name: string): boolean {
  const match = NAME.exec(name);
  if (!match) return false;
  const [, pid, start, where] = match;
  // A directory shared between hosts or containers: their pids mean nothing here.
  if (where !== place()) return false;
  const now = startTime(Number(pid));
  if (now !== undefined) return start !== "unknown" && start !== now;
  return !isAlive(Number(pid));
}

/** Clock ticks since boot at which a process started: field 22 of /proc/<pid>/stat, see proc_pid_stat(5). Linux only. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name in parentheses may hold spaces and parentheses itself.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

let cachedPlace: string | undefined;

/** Where a pid has its meaning: this boot of this host, in this pid namespace. */
function place(): string {
  if (cachedPlace) return cachedPlace;
  const parts = [hostname()];
  try {
    parts.push(readFileSync("/proc/sys/kernel/random/boot_id", "latin1"));
    parts.push(readlinkSync("/proc/self/ns/pid"));
  } catch {
    // Not Linux: the host name has to do.
  }
  cachedPlace = createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 8);
  return cachedPlace;
}
