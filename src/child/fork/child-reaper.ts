/** Reaps forked children with wait4(2), and reports how each ended. */
import { readFileSync } from "node:fs";
import { getHeapStatistics } from "node:v8";
import type { ChildReport, StartRequest } from "../../wire/protocol.js";
import { type Libc, RUSAGE_BYTES, SIGKILL } from "../libc.js";

/** ru_maxrss of struct rusage, in KiB: its lower word, enough for 4 TiB. */
const MAX_RSS_WORD = 8;

/** V8 ends by SIGILL, SIGTRAP or SIGABRT when it gets no memory, other code by SIGBUS or SIGSEGV. */
const CRASH_SIGNALS = new Set([4, 5, 6, 7, 11]);
const HEAP_LIMIT_BYTES = getHeapStatistics().heap_size_limit;
/** V8 gives up close to its limit, but some of the memory it had reserved may never have been resident. */
const NEAR_LIMIT = 0.6;

export class ChildReaper {
  readonly #libc: Libc;
  readonly #status = new Int32Array(1);
  readonly #usage = new Uint32Array(RUSAGE_BYTES / 4);
  #oomKills = countOomKills();

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  /** Waits for a child that has ended or is about to, and kills what it leaves in its process group. */
  reap(pid: number): void {
    // While the child is a zombie, no other process group can have its number.
    this.#libc.kill(-pid, SIGKILL);
    this.#libc.wait(pid, this.#status, this.#usage);
  }

  /** Number of the signal that ended the child reaped last, or 0. */
  get signal(): number {
    return this.#status[0]! & 0x7f;
  }

  /** Returns the report of the child reaped last. */
  report(pid: number, { id, start }: StartRequest): ChildReport {
    const { signal } = this;
    const peakMemory = this.#usage[MAX_RSS_WORD]! * 1024;
    return {
      id,
      pid,
      ...(signal === 0 ? { exitCode: (this.#status[0]! >> 8) & 0xff } : { signal }),
      usage: [this.#microseconds(0), this.#microseconds(4), peakMemory],
      ...(this.#ranOutOfMemory(peakMemory, start.limits?.memory) ? { outOfMemory: true } : {}),
    };
  }

  /** Reads a struct timeval of struct rusage: two longs, of which the lower words are enough. */
  #microseconds(word: number): number {
    return this.#usage[word]! * 1e6 + this.#usage[word + 2]!;
  }

  #ranOutOfMemory(peakMemory: number, limit = Infinity): boolean {
    const { signal } = this;
    if (signal === SIGKILL) {
      const before = this.#oomKills;
      this.#oomKills = countOomKills();
      return this.#oomKills > before;
    }
    return CRASH_SIGNALS.has(signal) && peakMemory > Math.min(HEAP_LIMIT_BYTES, limit) * NEAR_LIMIT;
  }
}

/** Returns how often the kernel's out-of-memory killer has struck since boot; 0 if /proc does not say. */
function countOomKills(): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync("/proc/vmstat", "latin1"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
