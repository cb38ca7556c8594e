/**
 * Where in the user's program a call was made. Its errors come to be in callbacks, long after that and far from it: they get
 * the stack of the call, and below it the frames in which the worker threw, for those who print no cause.
 */
import { isOurs, ItemError, WorkerModuleError } from "../errors.js";
import { framesOf } from "../wire/stack-frames.js";

/** Never on the stack. */
function nowhere(): void {}

/** An error that several calls share, such as that of a worker's module, is told with the stack of the first. */
const told = new WeakSet<object>();

export class CallSite {
  /** V8 notes the frames here; they become text when an error needs them, which most calls never do. */
  readonly #at: { readonly stack?: unknown } = {};
  #frames: string | undefined;

  /** @param verb - what the user has called: the frames from there on are not his */
  constructor(verb: Function) {
    Error.captureStackTrace(this.#at, verb);
  }

  /** Errors of `check`, which runs no code of the user's, are told as those of the call. */
  check<T>(check: () => T): T {
    try {
      return check();
    } catch (error) {
      throw this.#tell(error as Error);
    }
  }

  /** The same error, told as one of the call if it is one of this library's: what the user's code has thrown stays as it is. */
  claim<T>(error: T): T {
    return isOurs(error) ? this.#tell(error) : error;
  }

  /** The same for an error that ends the call, as the last thing that `end` does, for whoever awaits that. */
  end(error: unknown, end: Function): unknown {
    if (!isOurs(error)) return error;
    const { stack } = this.#tell(error);
    // Node prints the line of the first of these frames above an uncaught error: that is the caller, if it awaits the call.
    Error.captureStackTrace(error, end);
    setStack(error, stack);
    return error;
  }

  #tell<E extends Error>(error: E): E {
    if (told.has(error)) return error;
    told.add(error);
    const { name, message } = error;
    this.#frames ??= framesOf(this.#at);
    // The frames it was made in, which Node would look for its line in.
    Error.captureStackTrace(error, nowhere);
    setStack(error, `${name}: ${message}${this.#frames}${thrownFrames(error)}`);
    return error;
  }
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
