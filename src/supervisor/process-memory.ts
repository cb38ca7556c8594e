/**
 * How much memory processes have, by /proc: pages that a fork shares with others count once over all of them. Linux only; what another user's process
 * has, and what a kernel does not tell, is estimated, and said to be.
 */
import { closeSync, openSync, read, readFileSync } from "node:fs";

/** What one process has, in bytes. */
export interface ProcessMemory {
  /**
   * With the measure `PSS`: its own pages, and of each page that n processes share the n-th part, so that the sizes of several processes add up. With
   * `RSS`: all pages that it maps, shared ones whole, which is too much for a forked child.
   */
  readonly size: number;
  /** `RSS` where the kernel has no smaps_rollup (before Linux 4.14, gVisor) or does not let this process read it (another user's). */
  readonly measure: "PSS" | "RSS";
  /** Pages that no other process maps: what its end gives back. Undefined with the measure `RSS`. */
  readonly own: number | undefined;
  readonly rss: number;
}

/** What is said where a process can be asked for nothing. */
export const NO_PROC =
  "/proc is not there: the memory and CPU time of other processes are known on Linux only";

/** Whether /proc tells of processes here. */
export function hasProc(): boolean {
  return statusOf("self") !== undefined;
}

/**
 * Returns what a process has; undefined if it has ended, or is not to be seen.
 *
 * @remarks
 * The kernel walks all pages of the process. Measured on Linux 6.18, the median of 50 reads: 0.35 ms for a Node that has just started, 2.2 ms for one
 * with 300 MiB more, 4.9 ms with 1 GiB, and up to 40 ms while the machine is busy. Pages that forks share take longer: 64 forks with 300 MiB take 0.3
 * to 0.45 s of a processor in all, and 8 with 1 GiB 0.4 s (on two processors that others use too). So it is read in a thread of libuv, and several
 * processes one after another, which leaves libuv's other threads free. Meanwhile the kernel holds the lock of the process's memory map for reading: its `mmap` waits.
 */
export async function memoryOf(pid: number): Promise<ProcessMemory | undefined> {
  const rollup = await readAside(`/proc/${pid}/smaps_rollup`);
  const rss = fieldOf(rollup, "Rss");
  const pss = fieldOf(rollup, "Pss");
  if (rss !== undefined && pss !== undefined) {
    const own = (fieldOf(rollup, "Private_Clean") ?? 0) + (fieldOf(rollup, "Private_Dirty") ?? 0);
    return { size: pss, measure: "PSS", own, rss };
  }
  const resident = rssOf(pid);
  return resident === undefined
    ? undefined
    : { size: resident, measure: "RSS", own: undefined, rss: resident };
}

/** Returns the resident set of a process in bytes; undefined if it has ended. A counter of the kernel's: 0.07 ms however large it is. */
export function rssOf(pid: number): number | undefined {
  // Not statm, which counts pages: Node does not tell how large one is (4, 16 or 64 KiB on arm64).
  return fieldOf(statusOf(pid), "VmRSS");
}

/** What several processes have together. */
export interface TotalMemory {
  /** Shared pages counted once, if all are measured as PSS. */
  readonly size: number;
  /** `RSS` if any is. */
  readonly measure: ProcessMemory["measure"];
}

export function totalOf(memories: Iterable<ProcessMemory>): TotalMemory {
  let size = 0;
  let measure: TotalMemory["measure"] = "PSS";
  for (const each of memories) {
    size += each.size;
    if (each.measure === "RSS") measure = "RSS";
  }
  return { size, measure };
}

/** Such as "312.5 MiB". */
export function inMiB(bytes: number): string {
  return `${Math.round((bytes / MIB) * 10) / 10} MiB`;
}

const MIB = 2 ** 20;
const KIB = 1024;
/** The whole of the file: some 25 lines of 28 characters. */
const ROLLUP_BYTES = 4096;

/** Reads a file of /proc whose text takes the kernel long to make, outside the event loop; undefined if it cannot be read. */
async function readAside(file: string): Promise<string | undefined> {
  let fd: number;
  try {
    // Opening and closing take microseconds; only the read walks the pages, and gives the whole text at once.
    fd = openSync(file, "r");
  } catch {
    return undefined;
  }
  const buffer = Buffer.allocUnsafe(ROLLUP_BYTES);
  return await new Promise((resolve) => {
    read(fd, buffer, 0, ROLLUP_BYTES, 0, (error, length) => {
      closeSync(fd);
      // ESRCH: it has ended since.
      resolve(error ? undefined : buffer.toString("latin1", 0, length));
    });
  });
}

function statusOf(pid: number | "self"): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/status`, "latin1");
  } catch {
    return undefined;
  }
}

/** Returns a field in bytes; a zombie has none. */
function fieldOf(text: string | undefined, name: string): number | undefined {
  const found = text && new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
  return found ? Number(found) * KIB : undefined;
}
