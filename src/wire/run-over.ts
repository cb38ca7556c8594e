/** The mark of a run, of a container or a pool, that is over: supervisors need the files no longer in which its children have counted. */
import { readdirSync, writeFileSync } from "node:fs";

/** The name has the pid of the program, as those of files of metrics have. */
export const OVER_FILE = /^over-((\d+)-\d+)$/;

export function overFile(run: string): string {
  return `over-${run}`;
}

/** Tells supervisors that no child of this run counts any more. */
export function markOver(directory: string, run: string): void {
  try {
    // `supervised` may name any directory: nothing is left where no child has counted.
    if (!readdirSync(directory).some((name) => name.startsWith(`metrics-${run}-`))) return;
    writeFileSync(`${directory}/${overFile(run)}`, "", { mode: 0o600 });
  } catch {
    // It is gone, or the disk is full: then the files stay for as long as the program.
  }
}
