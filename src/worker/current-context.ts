/** The frames around the running code: those of this child (process or thread), and of workers run inline in it. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Frame, Instance } from "./worker.js";

/** Key of `globalThis` for the frames of a child; a global symbol, as a process may have two copies of this package. */
const CONTEXT = Symbol.for("forkmap.context");

const globals = globalThis as { [CONTEXT]?: readonly Frame[] };
const inline = new AsyncLocalStorage<readonly Frame[]>();

/** Makes `frame` the frame of this child, inside of `around`. */
export function enterFrame(frame: Frame, generation: number, around: readonly Frame[]): Instance {
  const context = [...around, frame];
  globals[CONTEXT] = context;
  return { ...frame, generation, parent: around.at(-1), context };
}

/** Name of a worker in frames and messages; only a class without a name has none. */
export function workerName(worker: { readonly name: string }): string {
  return worker.name || "worker";
}

/** Returns the frames from the outermost to the innermost. */
export function currentContext(): readonly Frame[] {
  return inline.getStore() ?? globals[CONTEXT] ?? [];
}

/** Returns the frames inside an inline worker; `undefined` outside of one. */
export function inlineFrames(): readonly Frame[] | undefined {
  return inline.getStore();
}

/** Runs `work`, and everything it starts, within `context`. */
export function within<T>(context: readonly Frame[], work: () => T): T {
  return inline.run(context, work);
}
