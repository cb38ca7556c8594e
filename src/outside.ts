/**
 * What lives longer than a call (the fork server's channel, a pool's sockets, the timer of the event loop) is made in no
 * call's AsyncLocalStorage context: it would keep that context's values, and hand them to callbacks of other calls.
 */
import { AsyncResource } from "node:async_hooks";

/** The context in which this package was loaded. */
const root = new AsyncResource("forkmap", { requireManualDestroy: true });

/** Runs `make` in no call's context. */
export function outside<T>(make: () => T): T {
  return root.runInAsyncScope(make);
}
