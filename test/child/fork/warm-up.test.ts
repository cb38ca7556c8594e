/** The fork server makes requests to itself before the first fork, by Node's own functions only: a worker must not notice. */
import { expect, test } from "vitest";
import { Requests } from "../../fixtures/replaces-requests.mjs";
import { opened } from "../../support/opened.js";

/** So many that what the fork server does later is done between them. */
const ITEMS = Array.from({ length: 8 }, (_, i) => i);

test.each(["none", "fetch", "neverFetches", "get", "server", "channel", "certificates"])(
  "a module that observes or replaces: %s",
  async (way) => {
    const options = { startMethod: "fork", concurrency: 1 } as const;
    const env = { ...process.env, FORKMAP_TEST_WAY: way };
    const parallel = opened(new Requests(), { ...options, env, timeout: 10_000 });
    expect(await parallel.mapProcesses(ITEMS)).toEqual(ITEMS.map(() => 0));
  },
);
