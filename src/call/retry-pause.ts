/** The pause before a retry. */
import type { ResolvedOptions } from "../options.js";

/** Returns the ms to wait after this attempt. Half of it is random: items that failed together are not retried together. */
export function retryPause(
  { min, max, factor }: ResolvedOptions["retryDelay"],
  attempt: number,
): number {
  return Math.min(max, min * factor ** (attempt - 1)) * (0.5 + Math.random() / 2);
}
