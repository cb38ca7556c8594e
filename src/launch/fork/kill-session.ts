/** Ends what a fork server has left behind that is in nobody's process group. */
import { readdirSync, readFileSync } from "node:fs";

/**
 * Kills what is left of a session. The fork server leads one, and all its descendants are in it unless they have made
 * their own; nobody else can be, as a session keeps its number until its last member ends.
 */
export function killSession(session: number): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      // proc_pid_stat(5): after the name come state, ppid, pgrp, session.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (Number(fields[3]) === session) process.kill(Number(pid), "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}
