/** Finds the processes that remain in a process group whose leader has ended. */
import { readdirSync, readFileSync } from "node:fs";

/** Names the remaining processes, such as "sleep (process 17)"; `undefined` if there are none. */
export function remainsOf(group: number): string | undefined {
  try {
    process.kill(-group, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return undefined;
  }
  // A zombie still belongs to the group until it is collected, which never happens in a container without an init.
  const names = process.platform === "linux" ? namesIn(group) : ["a process"];
  return names.length === 0 ? undefined : names.join(", ");
}

function namesIn(group: number): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      // Fields 2 (name, in parentheses), 3 (state) and 5 (group): proc_pid_stat(5).
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const end = stat.lastIndexOf(")");
      const [state, , of] = stat.slice(end + 2).split(" ");
      if (Number(of) !== group || state === "Z" || state === "X") return [];
      return [`${stat.slice(stat.indexOf("(") + 1, end)} (process ${pid})`];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}
