/** The time for which a diagnostic records. */
import { clearTimeout, setTimeout } from "../../system/timers.js";

/**
 * Resolves after so many ms. The timer alone does not keep the child alive.
 *
 * @throws the reason of the signal once it aborts
 */
export async function elapse(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms).unref();
    signal.addEventListener("abort", end);
  });
  signal.throwIfAborted();
}
