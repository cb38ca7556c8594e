/**
 * Out of descriptors, processes, memory or disk: says in words what ran out, what its limit is and what to do. Also keeps
 * some descriptors of this process free for what it only needs for a moment.
 */
import { closeSync, openSync } from "node:fs";
import path from "node:path";
import { cgroupsOf, readIn } from "./cgroup.js";

/** Results, long items and files of /proc are read through descriptors that are open for a moment. */
const RESERVE = 16;
/** A program that may have few of them needs most for itself. */
const MOST_OF_LIMIT = 0.25;

/** Read at once: when descriptors have run out there is none to read it with. */
const LIMITS = readIn("/", "proc/self/limits") ?? "";

/** Whether it is one of those that pass when something else ends: no descriptor, no process, no memory. */
export function isShortage(error: unknown): boolean {
  return Object.hasOwn(SHORTAGES, codeOf(error));
}

/** What ran out and its limit, for an error that says so; `undefined` for any other. */
export function shortageOf(error: unknown): string | undefined {
  return shortageInWords(codeOf(error));
}

/** The same by the name of an errno. */
export function shortageInWords(code: string): string | undefined {
  return SHORTAGES[code]?.();
}

function codeOf(error: unknown): string {
  const { code, message = "" } = (error ?? {}) as Partial<NodeJS.ErrnoException>;
  // Of a thread, and of a package.json that cannot be opened, Node has codes of its own.
  if (code === "ERR_WORKER_INIT_FAILED") return /\bE[A-Z]+$/.exec(message)?.[0] ?? code;
  return /too many open files\.?$/.test(message) ? "EMFILE" : String(code);
}

const SHORTAGES: Record<string, () => string> = {
  EMFILE: () => {
    const limit = limitOf("open files");
    const what = limit === undefined ? "" : `: the limit is ${limit} (ulimit -n)`;
    return `no file descriptor is left${what}; lower \`concurrency\` or raise it`;
  },
  ENFILE: () =>
    "no file descriptor is left in the whole system (fs.file-max); lower `concurrency` or raise it",
  EAGAIN: () => {
    const limit = lower(
      [limitOf("processes"), "processes and threads of this user (ulimit -u)"],
      [lowest("pids", ["pids.max"]), "processes and threads of the cgroup (pids.max)"],
    );
    return `no process or thread could be made${limit}; lower \`concurrency\` or raise it`;
  },
  ENOMEM: () => {
    const limit = lower(
      [limitOf("address space"), "bytes of addresses (ulimit -v)"],
      [lowest("memory", ["memory.max", "memory.limit_in_bytes"]), "bytes of the cgroup"],
    );
    return `no memory is left for a process${limit}; lower \`concurrency\` or raise it`;
  },
};

/** What of a cgroup's processes and threads may be left where a Node process that was starting has met its limit. */
const FEW_PROCESSES = 4;

/** That the cgroup has hardly any processes left, and its limit; `undefined` where there are some, or no limit. */
export function fewProcesses(): string | undefined {
  const isFew = cgroupsOf("pids").some((directory) => {
    const limit = Number(readIn(directory, "pids.max") ?? Number.NaN);
    return Number(readIn(directory, "pids.current")) > limit - FEW_PROCESSES;
  });
  return isFew ? shortageInWords("EAGAIN") : undefined;
}

type Limit = readonly [value: number | undefined, what: string];

/** The one that is met first, of those there are. */
function lower(...limits: readonly [Limit, Limit]): string {
  const [[value, what]] = limits.toSorted(([a = Infinity], [b = Infinity]) => a - b) as [Limit];
  return value === undefined ? "" : `: the limit is ${value} ${what}`;
}

/** The soft limit of this process, and so of its children; `undefined` where there is none, or it cannot be known. */
function limitOf(name: string): number | undefined {
  const found = new RegExp(`^Max ${name} +(\\d+)`, "m").exec(LIMITS)?.[1];
  return found === undefined ? undefined : Number(found);
}

function lowest(controller: string, files: readonly string[]): number | undefined {
  const limits = cgroupsOf(controller).flatMap((directory) =>
    files.map((file) => Number(readIn(directory, file) ?? Number.NaN)),
  );
  // Version 1 says "none" with a number near 2 ** 63.
  const limit = Math.min(...limits.filter((each) => each < Number.MAX_SAFE_INTEGER));
  return limit === Infinity ? undefined : limit;
}

/** Whether a descriptor that is to stay open is one of the last: the kernel gives the lowest that is free. */
function isAmongLast(fd: number): boolean {
  const limit = limitOf("open files");
  return limit !== undefined && fd >= limit - Math.min(RESERVE, limit * MOST_OF_LIMIT);
}

/** Whether so many more may be opened to stay open. */
export function hasDescriptors(count: number): boolean {
  try {
    const fd = openSync("/", "r");
    closeSync(fd);
    return !isAmongLast(fd + count - 1);
  } catch (error) {
    return !isShortage(error);
  }
}

/** Holds so many until it is called: for what takes them a moment later. @throws when they are not to be had */
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

/** Of an error of a scratch directory that has no room, in words that name it. */
export function noRoomIn(directory: string, error: unknown): string | undefined {
  if (codeOf(error) !== "ENOSPC" && codeOf(error) !== "EDQUOT") return undefined;
  const { message } = error as Error;
  return `no room is left in ${path.dirname(directory)} (\`scratchRoot\`): ${message}`;
}
