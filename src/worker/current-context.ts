/** The frames around the code that runs now: of the child this process is, and of workers that run inline in it. */
import { AsyncLocalStorage } from "node:async_hooks";
import { CONTEXT } from "./context.js";
import type { Frame } from "./worker.js";

const inline = new AsyncLocalStorage<readonly Frame[]>();

/** From the outermost to the innermost. */
export function currentContext(): readonly Frame[] {
  const own = (globalThis as Record<symbol, unknown>)[CONTEXT] as Frame[] | undefined;
  return inline.getStore() ?? own ?? [];
}

/** Those of workers that run inline, if this is one. */
export function inlineFrames(): readonly Frame[] | undefined {
  return inline.getStore();
}

/** Runs `work`, and all that it starts, within `context`. */
export function within<T>(context: readonly Frame[], work: () => T): T {
  return inline.run(context, work);
}
