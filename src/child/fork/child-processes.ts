/** Lists the running child processes of this process, from /proc. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/** Returns their names, as shown in process lists. */
export function childProcesses(): string[] {
  return childPids().flatMap((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const [state] = stat.slice(stat.lastIndexOf(")") + 2);
      return state === "Z" || state === "X" ? [] : [nameOf(pid, stat)];
    } catch {
      // The process has just ended.
      return [];
    }
  });
}

function childPids(): number[] {
  try {
    return readdirSync("/proc/self/task").flatMap((thread) => {
      const list = readFileSync(`/proc/self/task/${thread}/children`, "latin1");
      return list.split(" ").filter(Boolean).map(Number);
    });
  } catch {
    // A kernel without CONFIG_PROC_CHILDREN, or a thread that has just ended.
    return numbersIn("/proc").filter((pid) => parentOf(pid) === process.pid);
  }
}

function numbersIn(directory: string): number[] {
  return readdirSync(directory).map(Number).filter(Number.isInteger);
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return undefined;
  }
}

/** Returns the command that started the process; the kernel's own name is cut to 15 bytes. */
function nameOf(pid: number, stat: string): string {
  const [command] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  return command
    ? path.basename(command)
    : stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
}
