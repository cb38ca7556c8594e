/**
 * The one-file way: when the class is not exported, the child runs the program again, and there `new Parallel(worker)`
 * hands its worker over and the program goes no further. Both ends meet at a symbol, not at an import, because the
 * program may have another copy of this package than the child.
 */

/** Takes a worker. Does not return when it is the one looked for; says so when it is another one. */
type Capture = (worker: object) => void;

const CAPTURE = Symbol.for("forkmap.capture");
const globals = globalThis as { [CAPTURE]?: Capture | undefined };

/** Whether the program is only being run to find a worker; does not return when `worker` is the one. */
export function offerWorker(worker: object): boolean {
  const capture = globals[CAPTURE];
  if (!capture) return false;
  capture(worker);
  return true;
}

export function expectWorker(capture: Capture | undefined): void {
  globals[CAPTURE] = capture;
}
