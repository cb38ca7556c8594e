/**
 * The stack of the JavaScript that runs, as text. It is called in the middle of any code, so it must run none of the user's:
 * neither an `Error.prepareStackTrace` of a library nor the source maps of `--enable-source-maps`, which read files.
 *
 * It has no loops and calls as few functions of JavaScript as possible, see interrupts.ts.
 */

/** Deeper ones are cut: the frames of a recursion are alike. 200 frames take 1 ms. */
const MAX_FRAMES = 200;

const { captureStackTrace } = Error;
const { apply, defineProperty, deleteProperty, getOwnPropertyDescriptor } = Reflect;
// oxlint-disable-next-line typescript/unbound-method -- `apply` binds it
const { join } = Array.prototype;

/** What is taken: V8 passes it to `take`. Undefined unless a stack is being taken. */
let holder: { stack?: unknown } | undefined;
let limitBefore: PropertyDescriptor | undefined;
let prepareBefore: PropertyDescriptor | undefined;

/**
 * Returns one line for each frame that is below the function `entry`, from the innermost on. Empty if no JavaScript runs there.
 */
export function currentStack(entry: () => void): string {
  const taken: { stack?: unknown } = {};
  limitBefore = getOwnPropertyDescriptor(Error, "stackTraceLimit");
  prepareBefore = getOwnPropertyDescriptor(Error, "prepareStackTrace");
  try {
    holder = taken;
    const rest = { configurable: true, writable: true, enumerable: true };
    defineProperty(Error, "stackTraceLimit", { value: MAX_FRAMES, ...rest });
    defineProperty(Error, "prepareStackTrace", { value: take, ...rest });
    captureStackTrace(taken, entry);
    const text = apply(join, taken.stack, ["\n    at "]);
    return text === "" ? "" : `    at ${text}\n`;
  } finally {
    if (limitBefore) defineProperty(Error, "stackTraceLimit", limitBefore);
    else deleteProperty(Error, "stackTraceLimit");
    if (prepareBefore) defineProperty(Error, "prepareStackTrace", prepareBefore);
    else deleteProperty(Error, "prepareStackTrace");
    holder = undefined;
  }
}

/** Undoes what a time limit (`timeout` of node:vm) has cut short, which skips `finally`. Called from the event loop. */
export function finishStack(): void {
  if (!holder) return;
  holder = undefined;
  if (Error.prepareStackTrace !== take) return;
  if (limitBefore) defineProperty(Error, "stackTraceLimit", limitBefore);
  if (prepareBefore) defineProperty(Error, "prepareStackTrace", prepareBefore);
  else deleteProperty(Error, "prepareStackTrace");
}

/** V8 writes the frames as text when they are joined. */
function take(error: unknown, frames: readonly NodeJS.CallSite[]): unknown {
  if (error === holder) return frames;
  // Another error is made, after a time limit has cut short what took a stack.
  const before: unknown = prepareBefore?.value;
  finishStack();
  if (typeof before === "function") return apply(before, Error, [error, frames]) as unknown;
  return [String(error), ...frames.map(String)].join("\n    at ");
}
