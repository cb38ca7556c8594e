/**
 * Reports why a process is about to end, at the last moment: after all `exit` listeners, before Node's own teardown. A
 * forked child must leave there, because the teardown joins threads that a fork has not copied.
 */

export type Ending =
  /** `process.exit` was called. */
  | { readonly how: "exit" }
  /** The event loop ran empty. */
  | { readonly how: "drained" }
  | { readonly how: "uncaught"; readonly error: unknown };

/** @param isLast - no code of the program runs after the handler; else `process.reallyExit` is called at the end */
export type EndHandler = (ending: Ending, code: number, isLast: boolean) => void;

/** Node's exit code for "Internal Exception Handler Run-Time Failure". */
const CODE_OF_FAILED_HANDLER = 7;

let onEnd: EndHandler = () => {};
let onExitEvent: () => void = () => {};
let reallyExit: (code?: number) => never;
let ownEmit: typeof process.emit;
let isUnawaited = false;

/** Sets the only handler of the end; `beforeListeners` is called before the `exit` listeners. */
export function atEnd(handler: EndHandler, beforeListeners: () => void = () => {}): void {
  onEnd = handler;
  onExitEvent = beforeListeners;
}

/** Sets how `process.exit` ends the process, even for code that saved `reallyExit`. Returns the former function. */
export function exitBy(exit: (code?: number) => never): (code?: number) => never {
  const before = reallyExit;
  reallyExit = exit;
  return before;
}

/** Whether any code listens for the exit: with a listener or by replacing `process.emit` (signal-exit). */
export function isExitAwaited(): boolean {
  return !isUnawaited && (process.listenerCount("exit") > 0 || process.emit !== ownEmit);
}

/** Runs `work` as if no code listened for the exit. */
export function unawaited(work: () => void): void {
  isUnawaited = true;
  try {
    work();
  } finally {
    isUnawaited = false;
  }
}

/** Starts to watch for every kind of end that JavaScript can observe. Must be called once. */
export function watchExit(): void {
  let ending: Ending = { how: "drained" };
  const { emit, exit } = process;

  reallyExit = process.reallyExit.bind(process);
  process.reallyExit = (code) => reallyExit(code);

  process.exit = (code) => {
    ending = { how: "exit" };
    exit.call(process, code);
    // Reached only if a test or library has replaced the real `exit`, or in a thread, which runs on for a moment.
    throw new Error("process.exit returned");
  };

  // An error thrown by a handler of uncaught errors makes C++ end the process with this code, without `exit` event.
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

  // Runs `onEnd` after the last `exit` listener, however many are added later. A listener could not: an emitter copies
  // its listeners before it calls them, so no listener can know that it is the last.
  process.emit = ((event: string, ...args: unknown[]) => {
    if (event === "uncaughtExceptionMonitor" && isFatal())
      ending = { how: "uncaught", error: args[0] };
    if (event !== "exit") return Reflect.apply(emit, process, [event, ...args]) as boolean;
    let isDone = false;
    onExitEvent();
    try {
      const hadListeners = Reflect.apply(emit, process, [event, ...args]) as boolean;
      isDone = true;
      return hadListeners;
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

/** A listener may have set `process.exitCode` after the event was emitted. */
function exitCode(announced: unknown): number {
  return Number(process.exitCode ?? announced ?? 0);
}
