/** Ends what a fork server left behind, in whatever process group. */
import { readdirSync, readFileSync } from "node:fs";

/**
 * Kills what is left of a session. The fork server leads one, and all its descendants are in it unless they have
 * created their own. No other process can be in it: the kernel does not reuse a session's number before its last member
 * has ended.
 */
export function killSession(session: number): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      // proc_pid_stat(5): after the name come state, ppid, pgrp, session.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(fields[3]) === session) process.kill(Number(pid), "SIGKILL");
    } catch {
      // The process has ended meanwhile.
    }
  }
}
