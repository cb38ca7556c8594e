/** The time for which a diagnostic records. */
import { clearTimeout, setTimeout } from "../../system/timers.js";

/**
 * Resolves after so many ms. The timer alone does not keep the child alive.
 *
 * @throws the reason of the signal once it aborts
 */
export async function elapse(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  let abort = () => {};
  const { promise, resolve, reject } = withResolvers();
  const timer = setTimeout(resolve, ms).unref();
  signal.addEventListener("abort", (abort = () => reject(signal.reason as Error)));
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

/** Node 20 has no `Promise.withResolvers`. */
function withResolvers() {
  let resolve!: () => void;
  let reject!: (reason: Error) => void;
  const promise = new Promise<void>((...both) => {
    [resolve, reject] = both;
  });
  return { promise, resolve, reject };
}
