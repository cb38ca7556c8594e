/**
 * The AsyncLocalStorage context in which a call was made. All code of the user that the call runs (hooks, `tag`, the
 * iterator of the items) runs in it, and not in the context that happened to start a child, to print, or to abort.
 */
import { AsyncResource } from "node:async_hooks";
import type { ResolvedOptions } from "../options.js";

export class CallerContext {
  #resource: AsyncResource | undefined = new AsyncResource("ForkmapCall");

  run<T>(work: () => T): T {
    return this.#resource ? this.#resource.runInAsyncScope(work) : work();
  }

  /** Returns a function that runs `work` in this context. */
  bind<Args extends unknown[], T>(work: (...args: Args) => T): (...args: Args) => T {
    return (...args) => this.run(() => work(...args));
  }

  /** The call has ended: releases the context's values, even if the user keeps the call. */
  release(): void {
    this.#resource = undefined;
  }
}

/** The options with hooks that run in the caller's context. */
export function inContext(options: ResolvedOptions, context: CallerContext): ResolvedOptions {
  const { onStart, onFinish } = options;
  if (!onStart && !onFinish) return options;
  return {
    ...options,
    ...(onStart ? { onStart: context.bind(onStart) } : {}),
    ...(onFinish ? { onFinish: context.bind(onFinish) } : {}),
  };
}
