/** How long a test waits for what is sure to come: much longer than it takes, as any process may be held up meanwhile. */
export const SOON = { timeout: 20_000, interval: 20 };

/** What a program leaves that was killed is gone so soon: that is promised. */
export const PROMISED = { timeout: 2000, interval: 20 };
