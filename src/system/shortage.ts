/**
 * Running out of file descriptors, processes, memory or disk space: describes what ran out, its limit and what to do.
 * Also keeps some descriptors of this process free for short uses.
 */
import { closeSync, openSync } from "node:fs";
import path from "node:path";
import { cgroupsOf, readIn } from "./cgroup.js";

/** Descriptors kept free for short uses: to read results, long items and files of /proc. */
const RESERVE = 16;
/** Largest part of the limit to keep free: with a low limit, the program needs most descriptors itself. */
const MOST_OF_LIMIT = 0.25;

/** Read when the module is loaded: once descriptors have run out, none is left to read this file. */
const LIMITS = readIn("/", "proc/self/limits") ?? "";

/** Whether the error is a shortage that may pass when other work ends: of descriptors, processes or memory. */
export function isShortage(error: unknown): boolean {
  return Object.hasOwn(SHORTAGES, codeOf(error));
}

/** Returns what ran out, its limit and what to do; `undefined` if the error is no shortage. */
export function shortageOf(error: unknown): string | undefined {
  return shortageInWords(codeOf(error));
}

/** Returns the same for the name of an errno. */
export function shortageInWords(code: string): string | undefined {
  return SHORTAGES[code]?.();
}

function codeOf(error: unknown): string {
  const { code, message = "" } = (error ?? {}) as Partial<NodeJS.ErrnoException>;
  // Node does not set the errno as `code` for a thread that cannot start and a package.json that cannot be opened.
  if (code === "ERR_WORKER_INIT_FAILED") return /\bE[A-Z]+$/.exec(message)?.[0] ?? code;
  return /too many open files\.?$/.test(message) ? "EMFILE" : String(code);
}

const SHORTAGES: Record<string, () => string> = {
  EMFILE: () => {
    const limit = limitOf("open files");
    const what = limit === undefined ? "" : `: the limit is ${limit} (ulimit -n)`;
    return `no file descriptor is left${what}; lower \`concurrency\` or raise the limit`;
  },
  ENFILE: () =>
    "no file descriptor is left in the whole system (fs.file-max); lower `concurrency` or raise the limit",
  EAGAIN: () => {
    const limit = lower(
      [limitOf("processes"), "processes and threads of this user (ulimit -u)"],
      [lowest("pids", ["pids.max"]), "processes and threads of the cgroup (pids.max)"],
    );
    return `no process or thread could be made${limit}; lower \`concurrency\` or raise the limit`;
  },
  ENOMEM: () => {
    const limit = lower(
      [limitOf("address space"), "bytes of addresses (ulimit -v)"],
      [lowest("memory", ["memory.max", "memory.limit_in_bytes"]), "bytes of the cgroup"],
    );
    return `no memory is left for a process${limit}; lower \`concurrency\` or raise the limit`;
  },
};

/** When Node fails to start at the limit of a cgroup, at most this many processes and threads are still free there. */
const FEW_PROCESSES = 4;

/** Returns the shortage if a cgroup has hardly any processes left; `undefined` if there are enough, or no limit. */
export function fewProcesses(): string | undefined {
  const isFew = cgroupsOf("pids").some((directory) => {
    const limit = Number(readIn(directory, "pids.max") ?? Number.NaN);
    return Number(readIn(directory, "pids.current")) > limit - FEW_PROCESSES;
  });
  return isFew ? shortageInWords("EAGAIN") : undefined;
}

/** Node may run out of fewer while it loads modules: it opens some 20 files at once, besides the 20 of its own. */
const FEW_DESCRIPTORS = 64;

/** Says that this process may only have few file descriptors, and the limit; `undefined` if it may have more. */
export function fewDescriptors(): string | undefined {
  return (limitOf("open files") ?? Infinity) < FEW_DESCRIPTORS
    ? shortageInWords("EMFILE")
    : undefined;
}

type Limit = readonly [value: number | undefined, what: string];

/** Returns the lower of two limits in words; an unknown limit is ignored. */
function lower(...limits: readonly [Limit, Limit]): string {
  const [[value, what]] = limits.toSorted(([a = Infinity], [b = Infinity]) => a - b) as [Limit];
  return value === undefined ? "" : `: the limit is ${value} ${what}`;
}

/** Returns a soft limit of this process, which its children inherit; `undefined` if there is none or it is unknown. */
function limitOf(name: string): number | undefined {
  const found = new RegExp(`^Max ${name} +(\\d+)`, "m").exec(LIMITS)?.[1];
  return found === undefined ? undefined : Number(found);
}

function lowest(controller: string, files: readonly string[]): number | undefined {
  const limits = cgroupsOf(controller).flatMap((directory) =>
    files.map((file) => Number(readIn(directory, file) ?? Number.NaN)),
  );
  // In version 1, a number near 2 ** 63 means no limit.
  const limit = Math.min(...limits.filter((each) => each < Number.MAX_SAFE_INTEGER));
  return limit === Infinity ? undefined : limit;
}

/** Whether a descriptor falls into the reserve. Its number shows it: the kernel assigns the lowest free one. */
function isAmongLast(fd: number): boolean {
  const limit = limitOf("open files");
  return limit !== undefined && fd >= limit - Math.min(RESERVE, limit * MOST_OF_LIMIT);
}

/** Whether `count` more descriptors may be opened and stay open without touching the reserve. */
export function hasDescriptors(count: number): boolean {
  try {
    const fd = openSync("/", "r");
    closeSync(fd);
    return !isAmongLast(fd + count - 1);
  } catch (error) {
    return !isShortage(error);
  }
}

/** Opens descriptors for code that soon needs as many; the returned function frees them. @throws if too few are free */
export function holdDescriptors(count: number): () => void {
  const held: number[] = [];
  const release = () => {
    for (const fd of held.splice(0)) closeSync(fd);
  };
  try {
    while (held.length < count) held.push(openSync("/", "r"));
  } catch (error) {
    release();
    throw error;
  }
  return release;
}

/** Describes the error of a full disk or quota and names the scratch root; `undefined` for any other error. */
export function noRoomIn(directory: string, error: unknown): string | undefined {
  if (codeOf(error) !== "ENOSPC" && codeOf(error) !== "EDQUOT") return undefined;
  const { message } = error as Error;
  return `no room is left in ${path.dirname(directory)} (\`scratchRoot\`): ${message}`;
}
