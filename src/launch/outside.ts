/**
 * Creates what outlives a call (the fork server's channel, a pool's sockets, the timer of the event loop) outside any
 * call's AsyncLocalStorage context: an object made inside one would retain its values, and pass them to callbacks of
 * other calls.
 */
import { AsyncResource } from "node:async_hooks";
import { inlineFrames, within } from "../worker/current-context.js";

/** The context in which this package was loaded. */
const root = new AsyncResource("forkmap", { requireManualDestroy: true });

/** Runs `make` outside any call's context, but within the caller's frames. */
export function outside<T>(make: () => T): T {
  const frames = inlineFrames();
  return root.runInAsyncScope(() => (frames ? within(frames, make) : make()));
}
