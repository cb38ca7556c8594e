/** Waits for a promise to settle, but only so long. */
import { clearTimeout, setTimeout } from "../../system/timers.js";

/**
 * @param limit - in ms
 * @returns whether it has settled
 */
export async function settledWithin(promise: Promise<unknown>, limit: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), limit);
  });
  const settled = promise.then(
    () => true,
    () => true,
  );
  const isSettled = await Promise.race([settled, late]);
  clearTimeout(timer);
  return isSettled;
}
