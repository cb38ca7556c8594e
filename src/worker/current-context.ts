/** The frames around the running code: those of this child process, and those of workers that run inline in it. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Frame } from "./worker.js";

/** Key of `globalThis` for the frames around a child; a global symbol, as a process may have two copies of this package. */
export const CONTEXT = Symbol.for("forkmap.context");

const inline = new AsyncLocalStorage<readonly Frame[]>();

/** Returns the frames from the outermost to the innermost. */
export function currentContext(): readonly Frame[] {
  const own = (globalThis as Record<symbol, unknown>)[CONTEXT] as Frame[] | undefined;
  return inline.getStore() ?? own ?? [];
}

/** Returns the frames inside an inline worker; `undefined` outside of one. */
export function inlineFrames(): readonly Frame[] | undefined {
  return inline.getStore();
}

/** Runs `work`, and everything it starts, within `context`. */
export function within<T>(context: readonly Frame[], work: () => T): T {
  return inline.run(context, work);
}
