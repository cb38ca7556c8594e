/**
 * Where in the user's program a call was made. Errors of a call are created in callbacks, long after the call was made.
 * They get the stack of the call and, for programs that print no causes, the frames in which the worker threw below it.
 */
import { isOurs, ItemError, WorkerModuleError } from "../errors.js";
import { framesOf } from "../wire/stack-frames.js";

/** For `captureStackTrace`: a function that is never on the stack, so that no frames are captured. */
function nowhere(): void {}

/** Errors whose stack is set. If several calls share an error (of a worker's module), it has the stack of the first. */
const claimed = new WeakSet<object>();

export class CallSite {
  /** V8 captures the frames here; they are formatted only when an error needs them, which is rare. */
  readonly #at: { readonly stack?: unknown } = {};
  #frames: string | undefined;

  /** @param verb - the function that the user called: its frame and those above it are not part of the user's code */
  constructor(verb: Function) {
    Error.captureStackTrace(this.#at, verb);
  }

  /** Runs `check`, which runs no code of the user; its errors get the stack of the call. */
  check<T>(check: () => T): T {
    try {
      return check();
    } catch (error) {
      throw this.#restack(error as Error);
    }
  }

  /** Gives an error of this library the stack of the call; returns an error thrown by the user's code unchanged. */
  claim<T>(error: T): T {
    return isOurs(error) ? this.#restack(error) : error;
  }

  /** As `claim`, for the error that ends the call. @param end - the async function that throws it to the caller */
  end(error: unknown, end: Function): unknown {
    if (!isOurs(error)) return error;
    const { stack } = this.#restack(error);
    // Node prints the source line of the first captured frame above an uncaught error: the caller's, if it awaits.
    Error.captureStackTrace(error, end);
    setStack(error, stack);
    return error;
  }

  #restack<E extends Error>(error: E): E {
    return restack(error, () => (this.#frames ??= framesOf(this.#at)));
  }
}

/**
 * Gives an error of this library the stack of the call that rejects with it, without a `CallSite`: to capture frames at each call
 * takes 3.5 us, a fifth of what a `run` costs its caller. V8 finds the functions that await a promise when they are needed.
 *
 * @param below - the function whose frame and those above it are not part of the user's code
 */
export function claimLate(error: unknown, below: Function): unknown {
  if (!isOurs(error)) return error;
  const at: { readonly stack?: unknown } = {};
  Error.captureStackTrace(at, below);
  return restack(error, () => framesOf(at));
}

/** As the handler of a promise: rejects the promise that its caller was given with what `claimLate` makes of the error. */
export function claimAwaited(error: unknown): never {
  throw claimLate(error, claimAwaited);
}

function restack<E extends Error>(error: E, frames: () => string): E {
  if (claimed.has(error)) return error;
  claimed.add(error);
  const { name, message } = error;
  const stack = `${name}: ${message}${frames()}${thrownFrames(error)}`;
  // Drops the frames in which the error was created: Node would print a source line of them.
  Error.captureStackTrace(error, nowhere);
  setStack(error, stack);
  return error;
}

function thrownFrames(error: Error): string {
  const isOfWorker = error instanceof ItemError || error instanceof WorkerModuleError;
  if (!isOfWorker) return "";
  const frames = framesOf(error.cause);
  return frames === "" ? "" : `\n  thrown in the worker:${frames}`;
}

function setStack(error: Error, stack: string | undefined): void {
  Object.defineProperty(error, "stack", { value: stack, writable: true, configurable: true });
}
