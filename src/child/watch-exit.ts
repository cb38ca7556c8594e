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

export type EndHandler = (ending: Ending, code: number) => void;

let onEnd: EndHandler = () => {};

/** From now on `handler`, and no other, is told of the end. */
export function atEnd(handler: EndHandler): void {
  onEnd = handler;
}

/** Starts to watch for the end by any way that JavaScript can see; to be called once. */
export function watchExit(): void {
  let ending: Ending = { how: "drained" };
  const { emit, exit } = process;

  process.exit = (code) => {
    ending = { how: "exit" };
    exit.call(process, code);
    // Only reached when a test or library has replaced the real one, or in a thread, which runs on for a moment.
    throw new Error("process.exit returned");
  };

  // The last `exit` listener, however many are added later: an emitter copies its listeners before it calls them,
  // so none added here could know that it is the last.
  process.emit = ((event: string, ...args: unknown[]) => {
    if (event === "uncaughtExceptionMonitor" && isFatal())
      ending = { how: "uncaught", error: args[0] };
    if (event !== "exit") return Reflect.apply(emit, process, [event, ...args]) as boolean;
    try {
      return Reflect.apply(emit, process, [event, ...args]) as boolean;
    } finally {
      onEnd(ending, exitCode(args[0]));
    }
  }) as typeof process.emit;
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
