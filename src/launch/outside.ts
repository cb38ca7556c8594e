/**
 * What lives longer than a call (the fork server's channel, a pool's sockets, the timer of the event loop) is made in no
 * call's AsyncLocalStorage context: it would keep that context's values, and hand them to callbacks of other calls.
 */
import { AsyncResource } from "node:async_hooks";
import { inlineFrames, within } from "../worker/current-context.js";

/** The context in which this package was loaded. */
const root = new AsyncResource("forkmap", { requireManualDestroy: true });

/** Runs `make` in no call's context, but within the same frames. */
export function outside<T>(make: () => T): T {
  const frames = inlineFrames();
  return root.runInAsyncScope(() => (frames ? within(frames, make) : make()));
}
