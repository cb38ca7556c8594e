/**
 * The AsyncLocalStorage context in which a call was made: whatever code of its user's the call runs (hooks, `tag`, the iterator of
 * the items) runs in it, and not in that of whoever happened to start a child, to print, or to abort.
 */
import { AsyncResource } from "node:async_hooks";

export class CallerContext {
  #resource: AsyncResource | undefined = new AsyncResource("ForkmapCall");

  run<T>(work: () => T): T {
    return this.#resource ? this.#resource.runInAsyncScope(work) : work();
  }

  /** The same function, which runs in here. */
  bind<Args extends unknown[], T>(work: (...args: Args) => T): (...args: Args) => T {
    return (...args) => this.run(() => work(...args));
  }

  /** The call has ended: its values are let go of, whoever still has the call. */
  release(): void {
    this.#resource = undefined;
  }
}
