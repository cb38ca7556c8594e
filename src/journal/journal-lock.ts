/**
 * The lock of a journal: only one process at a time has it open. The holder keeps a file in the directory, with its
 * owner mark in the name, so that a lock left by a killed process is recognized. Each contender first creates its own
 * file and then looks for others: of two contenders, at least one sees the other and steps back.
 */
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  rmSync,
  utimes,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { JournalError } from "../errors.js";
import { monotonic } from "../system/monotonic.js";
import { ownerMark, ownerOf } from "../system/owner.js";
import { clearInterval, setInterval } from "../system/timers.js";

const PREFIX = "lock-";

/** A killed process with much memory takes time to end, and the user may start the next run at once. */
const DYING_MS = 1000;
/** A pid of another host or container cannot be checked. A living holder updates its lock's mtime this often ... */
const HEARTBEAT_MS = 2000;
/** ... and a lock unchanged for this long is stale. Measured with this machine's clock: the other one may be wrong. */
const SILENCE_MS = 10_000;

export class JournalLock {
  readonly #file: string;
  readonly #heartbeat: NodeJS.Timeout;

  private constructor(file: string) {
    this.#file = file;
    this.#heartbeat = setInterval(() => {
      const now = new Date();
      // A failed update is only a missed heartbeat.
      utimes(file, now, now, () => {});
    }, HEARTBEAT_MS).unref();
  }

  /** Takes the lock; waits for a holder that may be ending. @throws JournalError when the holder is alive */
  static async take(directory: string): Promise<JournalLock> {
    const watch = new Watch();
    const start = monotonic();
    for (;;) {
      const file = path.join(directory, `${PREFIX}${ownerMark()}`);
      writeFileSync(file, "", { flag: "wx", mode: 0o600 });
      let holder: Holder | undefined;
      let isOurs = false;
      try {
        holder = findHolder(directory, path.basename(file), watch);
        isOurs = holder === undefined;
      } finally {
        if (!isOurs) rmSync(file, { force: true });
      }
      if (!holder) return new JournalLock(file);
      const waited = monotonic() - start;
      if (holder.state === "beating" || (holder.state === "alive" && waited > DYING_MS)) {
        throw new JournalError(
          directory,
          `The journal in ${directory} is in use by ${holder.name}: wait until that run has ended, or give this run another directory`,
        );
      }
      // Random, so that two contenders that stepped back for each other do not collide again.
      await sleep(20 + Math.random() * 40);
    }
  }

  release(): void {
    clearInterval(this.#heartbeat);
    rmSync(this.#file, { force: true });
  }
}

export function isLock(name: string): boolean {
  return name.startsWith(PREFIX) && ownerOf(name.slice(PREFIX.length)) !== undefined;
}

interface Holder {
  readonly name: string;
  readonly state: "alive" | "beating" | "unknown";
}

/** Returns another holder of the lock, if any; removes stale locks. */
function findHolder(directory: string, own: string, watch: Watch): Holder | undefined {
  for (const name of readdirSync(directory).filter((each) => each !== own && isLock(each))) {
    const { pid, state } = ownerOf(name.slice(PREFIX.length))!;
    const file = path.join(directory, name);
    if (state === "alive") {
      const who = pid === process.pid ? "another call in this process" : `process ${pid}`;
      return { name: who, state };
    }
    if (state === "elsewhere") {
      const pulse = watch.pulse(file);
      const who = `process ${pid} of another machine or container`;
      if (pulse !== "none") return { name: who, state: pulse };
    }
    rmSync(file, { force: true });
  }
  return undefined;
}

/** Observes whether the mtime of locks changes. */
class Watch {
  readonly #seen = new Map<string, { mtime: number; since: number }>();

  pulse(file: string): "beating" | "unknown" | "none" {
    const mtime = freshMtime(file);
    if (mtime === undefined) return "none";
    const seen = this.#seen.get(file);
    if (!seen) {
      this.#seen.set(file, { mtime, since: monotonic() });
      return "unknown";
    }
    if (mtime !== seen.mtime) return "beating";
    return monotonic() - seen.since < SILENCE_MS ? "unknown" : "none";
  }
}

/** Returns the mtime after `open`, which asks the server of a network file system; `stat` may answer from a cache. */
function freshMtime(file: string): number | undefined {
  try {
    const fd = openSync(file, "r");
    try {
      return fstatSync(fd).mtimeMs;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
