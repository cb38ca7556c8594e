/** How long a test waits for a certain event: much longer than the event takes, as any process may be delayed. */
export const SOON = { timeout: 20_000, interval: 20 };

/** Everything that a killed program leaves is gone within this time: the documentation promises it. */
export const PROMISED = { timeout: 2000, interval: 20 };
