/**
 * One process at a time has a journal open: it keeps a file there whose name bears its mark, so that a lock left by a
 * killed process is known for one. Each contender makes its own file first and looks for others' then: of two, at
 * least one sees the other and steps back.
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

/** A killed process with much memory takes its time to end, and whoever killed it may start the next run at once. */
const DYING_MS = 1000;
/** The pid of a process of another host or container tells nothing; its lock is touched so often while it lives ... */
const HEARTBEAT_MS = 2000;
/** ... and is left over when it has not been touched for so long, measured with our clock: theirs may be wrong. */
const SILENCE_MS = 10_000;

export class JournalLock {
  readonly #file: string;
  readonly #heartbeat: NodeJS.Timeout;

  private constructor(file: string) {
    this.#file = file;
    this.#heartbeat = setInterval(() => {
      const now = new Date();
      // A beat that fails is only one that is missed.
      utimes(file, now, now, () => {});
    }, HEARTBEAT_MS).unref();
  }

  /** Waits for a holder that may be ending. @throws JournalError when one lives */
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
          `The journal in ${directory} is in use by ${holder.name}: wait until that run has ended, or give this one a directory of its own`,
        );
      }
      // Two that step back for each other do not meet again.
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

/** Who else has a lock; locks left over are removed. */
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

/** Watches whether locks are touched. */
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

/** Through `open`, which asks the server of a network file system where `stat` may answer from what it remembers. */
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
