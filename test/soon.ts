/** How long a test waits for what is sure to come: much longer than it takes, as any process may be held up meanwhile. */
export const SOON = { timeout: 20_000, interval: 20 };
