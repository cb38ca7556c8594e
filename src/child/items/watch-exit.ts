/**
 * Tells why a process is about to end, at the very end: after all `exit` listeners, before Node tears itself down.
 * In a forked child that is where it must leave, because the teardown joins threads that a fork has not copied.
 */

export type Ending =
  /** `process.exit` was called. */
  | { readonly how: "exit" }
  /** The event loop ran empty. */
  | { readonly how: "drained" }
  | { readonly how: "uncaught"; readonly error: unknown };

/** @param isLast - nothing of the program runs after it; else `process.reallyExit` is called once all is done */
export type EndHandler = (ending: Ending, code: number, isLast: boolean) => void;

/** Of Node: "Internal Exception Handler Run-Time Failure". */
const CODE_OF_FAILED_HANDLER = 7;

let onEnd: EndHandler = () => {};
let onExitEvent: () => void = () => {};
let reallyExit: (code?: number) => never;
let ownEmit: typeof process.emit;

/** From now on `handler`, and no other, is told of the end; `beforeListeners` is called before `exit` listeners are. */
export function atEnd(handler: EndHandler, beforeListeners: () => void = () => {}): void {
  onEnd = handler;
  onExitEvent = beforeListeners;
}

/** What `process.exit` ends with, also for those that have taken it for their own use before. Gives what it was. */
export function exitBy(exit: (code?: number) => never): (code?: number) => never {
  const before = reallyExit;
  reallyExit = exit;
  return before;
}

/** Whether anybody wants to know of the end: by a listener, or in place of `process.emit` (signal-exit). */
export function isExitAwaited(): boolean {
  return process.listenerCount("exit") > 0 || process.emit !== ownEmit;
}

/** Runs `work` without what others have put in the place of `process.emit`. */
export async function withOwnEmit(work: () => Promise<void>): Promise<void> {
  const { emit } = process;
  process.emit = ownEmit;
  try {
    await work();
  } finally {
    process.emit = emit;
  }
}

/** Starts to watch for the end by any way that JavaScript can see; to be called once. */
export function watchExit(): void {
  let ending: Ending = { how: "drained" };
  const { emit, exit } = process;

  reallyExit = process.reallyExit.bind(process);
  process.reallyExit = (code) => reallyExit(code);

  process.exit = (code) => {
    ending = { how: "exit" };
    exit.call(process, code);
    // Only reached when a test or library has replaced the real one, or in a thread, which runs on for a moment.
    throw new Error("process.exit returned");
  };

  // What is thrown where uncaught errors are handled ends the process, by C++ alone and with this code.
  const { _fatalException: handle } = process;
  process._fatalException = (...args) => {
    try {
      return Reflect.apply(handle, process, args);
    } catch (error) {
      ending = { how: "uncaught", error };
      onEnd(ending, CODE_OF_FAILED_HANDLER, true);
      throw error;
    }
  };

  // The last `exit` listener, however many are added later: an emitter copies its listeners before it calls them,
  // so none added here could know that it is the last.
  process.emit = ((event: string, ...args: unknown[]) => {
    if (event === "uncaughtExceptionMonitor" && isFatal())
      ending = { how: "uncaught", error: args[0] };
    if (event !== "exit") return Reflect.apply(emit, process, [event, ...args]) as boolean;
    let isDone = false;
    onExitEvent();
    try {
      const isHeard = Reflect.apply(emit, process, [event, ...args]) as boolean;
      isDone = true;
      return isHeard;
    } finally {
      onEnd(ending, exitCode(args[0]), !(isDone && ending.how === "exit"));
    }
  }) as typeof process.emit;
  ownEmit = process.emit;
}

function isFatal(): boolean {
  return (
    process.listenerCount("uncaughtException") === 0 &&
    !process.hasUncaughtExceptionCaptureCallback()
  );
}

/** A listener may have set `process.exitCode` after the event was made. */
function exitCode(announced: unknown): number {
  return Number(process.exitCode ?? announced ?? 0);
}
