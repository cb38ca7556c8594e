/** The fork server of a service answers a request of its own before the first fork, by Node's own functions only: a service must not notice. */
import { expect, test } from "vitest";
import { Counts } from "../fixtures/services/replaces-server.mjs";
import { contained } from "../support/contained.js";

test.each(["none", "create", "listen", "emit", "socket", "request"])(
  "a module that observes or replaces: %s",
  async (way) => {
    const { container } = contained({
      startMethod: "fork",
      sockets: { http: { host: "127.0.0.1", port: 0 } },
      env: { ...process.env, FORKMAP_TEST_WAY: way },
    });
    container.spawn(new Counts());
    await container.waitUntilReady();
    expect(container.instances[0]!.status).toBe("0");
  },
);
