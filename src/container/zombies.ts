/**
 * Reaps the zombies of others where this program is PID 1 of a container: orphans become its children, and Node reaps only those that it
 * has started.
 */
import { readdirSync, readFileSync } from "node:fs";
import { loadKoffi } from "../system/koffi.js";
import { clearInterval, setInterval } from "../system/timers.js";

/** Node reaps its own children within a turn of its event loop: what is still there at the next look is nobody's. */
const LOOK_MS = 1000;
const WNOHANG = 1;

/** Starts to reap, if this is PID 1. Returns what stops that. */
export function reapZombies(): () => void {
  if (process.pid !== 1) return () => {};
  let waitpid: (pid: number, status: null, options: number) => number;
  try {
    waitpid = loadKoffi()
      .load(null)
      .func("int waitpid(int pid, void *status, int options)") as typeof waitpid;
  } catch {
    process.emitWarning(
      "This program is PID 1 and cannot reap the zombies of others, which needs the optional dependency koffi: start it below an init (docker run --init)",
      { type: "ForkmapWarning", code: "FORKMAP_INIT" },
    );
    return () => {};
  }
  let seen = new Set<number>();
  const timer = setInterval(() => {
    const found = zombies();
    for (const pid of found) if (seen.has(pid)) waitpid(pid, null, WNOHANG);
    seen = new Set(found);
  }, LOOK_MS).unref();
  return () => clearInterval(timer);
}

function zombies(): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && isZombieOfOurs(pid));
}

function isZombieOfOurs(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // proc_pid_stat(5): after the name come state and ppid.
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return state === "Z" && Number(parent) === process.pid;
  } catch {
    return false;
  }
}
