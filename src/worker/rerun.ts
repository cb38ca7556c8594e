/** A worker's class that is in the program's own file: that is run a second time to have it, and what goes wrong then. */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Whether this module is the program that `argv` has started. */
export function isProgram(url: string, argv: readonly string[]): boolean {
  try {
    return argv[1] !== undefined && realpathSync(argv[1]) === realpathSync(fileURLToPath(url));
  } catch {
    return false;
  }
}

/** What to do when the second run fails: what was there already, or is not there, is the commonest reason. */
export const RERUN_ADVICE =
  "The program is run a second time, up to `new Parallel`, as the worker's class is in it: move `new Parallel` right below " +
  "the class, above all that opens, reads or prints something, or export the class from a module of its own";
