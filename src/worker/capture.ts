/**
 * One-file programs: when the class is not exported, the child runs the program again. There, `new Parallel(worker)`
 * hands over its worker and ends the program. Both sides use a global symbol, not an import, because the program may
 * have another copy of this package than the child.
 */

import type * as WorkerThreads from "node:worker_threads";

/**
 * Receives a worker, or `undefined` where the program calls another `Parallel` and so gets no further. Does not return if the
 * child has found the one it needs.
 */
type Capture = (worker: object | undefined) => void;

const CAPTURE = Symbol.for("forkmap.capture");
const globals = globalThis as { [CAPTURE]?: Capture | undefined };

/** Returns whether the program only runs to find a worker. Does not return if `worker` is the one the child needs. */
export function offerWorker(worker: object): boolean {
  const capture = globals[CAPTURE];
  if (!capture) {
    refuseInThread();
    return false;
  }
  capture(worker);
  return true;
}

/** Where the program that only runs to find a worker would wait for a call: it gets no further. */
export function stopHere(): Promise<never> {
  globals[CAPTURE]?.(undefined);
  return new Promise(() => {});
}

/** Whether the program only runs to find a worker. */
export function isRerun(): boolean {
  return globals[CAPTURE] !== undefined;
}

export function expectWorker(capture: Capture | undefined): void {
  globals[CAPTURE] = capture;
  // Threads inherit it, processes do not.
  threads()?.setEnvironmentData(CAPTURED, capture ? true : undefined!);
}

const CAPTURED = "forkmap.captured";

/**
 * A thread that a program starts has globals of its own. Were it started by a program that only runs to find a worker, its
 * children would run the program again, without end.
 */
function refuseInThread(): void {
  const { isMainThread = true, getEnvironmentData } = threads() ?? {};
  if (isMainThread || getEnvironmentData?.(CAPTURED) !== true) return;
  throw new Error(
    "This thread was started while its program was run again to find a worker, where threads cannot use Parallel: " +
      "export the worker from a module of its own",
  );
}

/** Loaded with the first `new Parallel`; undefined in a runtime that cannot start children anyway. */
function threads(): typeof WorkerThreads | undefined {
  const { getBuiltinModule } = process as Partial<Pick<typeof process, "getBuiltinModule">>;
  return getBuiltinModule?.("node:worker_threads");
}
