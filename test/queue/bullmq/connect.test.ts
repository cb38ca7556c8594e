import { expect, it } from "vitest";
import { makeClient } from "../../../src/queue/bullmq/connect.js";
import { describeWithRedis, startRedis } from "../../support/redis-server.js";

const RETRY = { min: 10, max: 100, factor: 2 };

describeWithRedis("a client of Redis", () => {
  it("reconnects to a server that was killed, and its commands wait meanwhile", async () => {
    const server = await startRedis({ appendOnly: true });
    const client = await makeClient(server.url, { retry: RETRY, holdsLoop: true });
    await client.set("a", "1");
    await server.kill();
    const answer = client.get("a");
    await new Promise((resolve) => void client.once("reconnecting", resolve));
    await server.restart();
    expect(await answer).toBe("1");
    client.disconnect();
  });
});
