/**
 * One-file programs: when the class is not exported, the child runs the program again. There, `new Parallel(worker)`
 * hands over its worker and ends the program. Both sides use a global symbol, not an import, because the program may
 * have another copy of this package than the child.
 */

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
  if (!capture) return false;
  capture(worker);
  return true;
}

/** Where the program that only runs to find a worker would wait for a call: it gets no further. */
export function stopHere(): Promise<never> {
  globals[CAPTURE]?.(undefined);
  return new Promise(() => {});
}

export function expectWorker(capture: Capture | undefined): void {
  globals[CAPTURE] = capture;
}
