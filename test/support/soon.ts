/**
 * How long a test waits for a certain event: much longer than the event takes, as any process may be delayed, and
 * less than the 30 s after which the library itself gives up.
 */
export const SOON = { timeout: 25_000, interval: 20 };

/** The promised time within which everything that a killed program leaves is gone. */
export const PROMISED = { timeout: 2000, interval: 20 };
