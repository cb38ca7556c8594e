/** The threads of a process as Linux sees them in /proc: which of them run, and in what the others wait. Nothing elsewhere. */
import { readdirSync, readFileSync } from "node:fs";

export interface KernelThread {
  readonly tid: number;
  /** The name of the thread, of which the kernel keeps 15 bytes. */
  readonly name: string;
  /** One letter, see proc_pid_stat(5): R runs or wants to, S sleeps, D waits for a device, T is stopped, Z has ended. */
  readonly state: string;
  /** Processor time that it has used, in ms. */
  readonly cpuMs: number;
  /** What it waits in: the system call, if the kernel tells it, or the function of the kernel. Undefined if it runs. */
  readonly waitsIn: string | undefined;
}

/** The main thread comes first. Empty if the process is gone, or not of this user. */
export function kernelThreads(pid: number): KernelThread[] {
  let tids: number[];
  try {
    tids = readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
  const others = tids.filter((tid) => tid !== pid);
  return [pid, ...others].flatMap((tid) => kernelThread(pid, tid) ?? []);
}

/** Whether it waits for any of its connections and timers: it is idle, or in `spawnSync`, which has an event loop of its own. */
export function waitsForEvents({ state, waitsIn }: KernelThread): boolean {
  return state === "S" && waitsIn !== undefined && /^(do_)?epoll_|^ep_poll/.test(waitsIn);
}

/** Returns it in words. */
export function inWords({ tid, name, state, waitsIn }: KernelThread): string {
  const what = STATES[state] ?? `is in state ${state}`;
  return `thread ${tid} (${name}) ${what}${waitsIn === undefined ? "" : ` in ${waitsIn}`}`;
}

export function kernelThread(pid: number, tid: number): KernelThread | undefined {
  const stat = read(pid, tid, "stat");
  if (stat === undefined) return undefined;
  // The name may have spaces and parentheses.
  const end = stat.lastIndexOf(")");
  const fields = stat.slice(end + 2).split(" ");
  const ticks = Number(fields[UTIME_FIELD]) + Number(fields[UTIME_FIELD + 1]);
  return {
    tid,
    name: stat.slice(stat.indexOf("(") + 1, end),
    state: fields[0]!,
    cpuMs: ticks * TICK_MS,
    waitsIn: waitOf(pid, tid),
  };
}

/** The system call may be hidden from those that may not trace the process (Yama), and the function from all but root. */
function waitOf(pid: number, tid: number): string | undefined {
  const call = read(pid, tid, "syscall")?.split(" ")[0];
  if (call === "running") return undefined;
  const name = call === undefined ? undefined : CALLS[process.arch]?.[call];
  if (name !== undefined) return name;
  const place = read(pid, tid, "wchan");
  if (place !== undefined && place !== "" && place !== "0") return place;
  return call === undefined || call === "-1" ? undefined : `system call ${call}`;
}

function read(pid: number, tid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/task/${tid}/${file}`, "latin1").trim();
  } catch {
    return undefined;
  }
}

/** Of utime, counted from the state; stime follows it. */
const UTIME_FIELD = 11;
/** USER_HZ is 100 on all machines that Node runs on. */
const TICK_MS = 10;

const STATES: Readonly<Record<string, string>> = {
  R: "runs",
  S: "waits",
  D: "waits for a device",
  T: "is stopped",
  t: "is stopped by a debugger",
  Z: "has ended",
  X: "has ended",
};

/** Numbers of the calls that block, see the kernel's tables. */
const CALLS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  x64: {
    0: "read",
    1: "write",
    7: "poll",
    17: "pread64",
    18: "pwrite64",
    19: "readv",
    20: "writev",
    23: "select",
    35: "nanosleep",
    42: "connect",
    43: "accept",
    44: "sendto",
    45: "recvfrom",
    46: "sendmsg",
    47: "recvmsg",
    61: "wait4",
    72: "fcntl",
    73: "flock",
    74: "fsync",
    75: "fdatasync",
    202: "futex",
    230: "clock_nanosleep",
    232: "epoll_wait",
    247: "waitid",
    257: "openat",
    271: "ppoll",
    281: "epoll_pwait",
    288: "accept4",
    426: "io_uring_enter",
    441: "epoll_pwait2",
  },
  arm64: {
    22: "epoll_pwait",
    25: "fcntl",
    32: "flock",
    56: "openat",
    63: "read",
    64: "write",
    65: "readv",
    66: "writev",
    67: "pread64",
    68: "pwrite64",
    73: "ppoll",
    82: "fsync",
    83: "fdatasync",
    95: "waitid",
    98: "futex",
    101: "nanosleep",
    115: "clock_nanosleep",
    202: "accept",
    203: "connect",
    206: "sendto",
    207: "recvfrom",
    211: "sendmsg",
    212: "recvmsg",
    242: "accept4",
    260: "wait4",
    426: "io_uring_enter",
    441: "epoll_pwait2",
  },
};
