/** A worker in the program's own file: the child runs the program a second time to get it, which may fail. */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Whether the module is the program that `argv` started. */
export function isProgram(url: string, argv: readonly string[]): boolean {
  try {
    return argv[1] !== undefined && realpathSync(argv[1]) === realpathSync(fileURLToPath(url));
  } catch {
    return false;
  }
}

/** Where the program of a worker or a service gets to when it is run again. */
export function reached(isService: boolean): string {
  return isService ? "`run` or `spawn` of a container" : "`new Parallel`";
}

/** Advice when the second run fails, most often because something (a file, a port) already exists or is missing. */
export function rerunAdvice(isService: boolean): string {
  return isService
    ? "The program is run a second time, up to `run` or `spawn` of a container, as the service is in it: export its class from a module of " +
        "its own, or move that call above everything that opens, reads or prints something"
    : "The program is run a second time, up to `new Parallel`, as the worker is in it: move `new Parallel` right below " +
        "its class or function, above everything that opens, reads or prints something, or export that from a module of its own";
}
