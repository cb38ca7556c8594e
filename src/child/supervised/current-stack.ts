/**
 * The stack of the JavaScript that runs, as text. It is called in the middle of any code, so it must run none of the user's:
 * neither an `Error.prepareStackTrace` of a library nor the source maps of `--enable-source-maps`, which read files.
 */

/** Deeper ones are cut: the frames of a recursion are alike. 200 frames take 1 ms. */
const MAX_FRAMES = 200;

const { captureStackTrace } = Error;
const { defineProperty, getOwnPropertyDescriptor } = Object;
const { deleteProperty } = Reflect;

/**
 * Returns one line for each frame that is below the function `entry`, from the innermost on. Empty if no JavaScript runs there.
 */
export function currentStack(entry: () => void): string {
  const limit = getOwnPropertyDescriptor(Error, "stackTraceLimit");
  const prepare = getOwnPropertyDescriptor(Error, "prepareStackTrace");
  try {
    replace("stackTraceLimit", MAX_FRAMES);
    replace("prepareStackTrace", lines);
    const holder: { stack?: string } = {};
    captureStackTrace(holder, entry);
    return holder.stack ?? "";
  } finally {
    restore("stackTraceLimit", limit);
    restore("prepareStackTrace", prepare);
  }
}

function lines(_: unknown, frames: readonly NodeJS.CallSite[]): string {
  let text = "";
  for (const frame of frames) text += `    at ${frame.toString()}\n`;
  return text;
}

function replace(name: string, value: unknown): void {
  defineProperty(Error, name, { value, configurable: true, writable: true, enumerable: true });
}

function restore(name: string, before: PropertyDescriptor | undefined): void {
  if (before) defineProperty(Error, name, before);
  else deleteProperty(Error, name);
}
