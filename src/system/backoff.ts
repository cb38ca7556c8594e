/** The pause before a retry or a restart: longer each time, and partly random. */

/** In ms; `factor` is by how much the pause grows each time. */
export interface Backoff {
  readonly min: number;
  readonly max: number;
  readonly factor: number;
}

/**
 * Returns the ms to wait after this attempt. Half of it is random: what failed together is not tried together again.
 *
 * @param attempt - 1 for the first
 */
export function backoffAfter(attempt: number, { min, max, factor }: Backoff): number {
  return Math.min(max, min * factor ** (attempt - 1)) * (0.5 + Math.random() / 2);
}
