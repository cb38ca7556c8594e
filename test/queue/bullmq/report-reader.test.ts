/** The streams of reports: none outlives its program, whenever that ends. */
import type { Redis } from "ioredis";
import { beforeAll, beforeEach, expect, test } from "vitest";
import { Keys } from "../../../src/queue/bullmq/keys.js";
import { ReportReader } from "../../../src/queue/bullmq/report-reader.js";
import { openCaller } from "../../support/queue-caller.js";
import { describeWithRedis, type RedisServer, startRedis } from "../../support/redis-server.js";

describeWithRedis("the streams of a program", () => {
  const keys = new Keys("bull", "q");
  const own = keys.reports("me");
  let server: RedisServer;
  let client: Redis;
  let reader: ReportReader;
  beforeAll(async () => {
    server = await startRedis();
  });
  beforeEach(async () => {
    ({ client } = await openCaller(server.url));
    await client.flushall();
    const events = { onReport: () => {}, onRound: () => {} };
    reader = new ReportReader(client, client.duplicate(), keys, "me", events);
    await reader.start(60_000);
  });

  const ttl = async (key: string) => await client.pttl(key);

  test("expire, and are kept", async () => {
    expect(await ttl(own)).toBeGreaterThan(50_000);
    await reader.keepStreams(600_000);
    expect(await ttl(own)).toBeGreaterThan(500_000);
    expect(await client.xlen(own)).toBe(0);
    reader.close();
  });

  test("are made again if the server has lost them", async () => {
    const [named, lost] = [keys.reports("named"), keys.reports("lost")];
    await client.xadd(named, "*", "report", "1");
    await client.pexpire(named, 5000);
    reader.add(named, "0");
    reader.add(lost, "0");
    await client.del(own);
    await reader.keepStreams(60_000);
    expect(await ttl(own)).toBeGreaterThan(50_000);
    expect(await ttl(lost)).toBeGreaterThan(50_000);
    // Whoever continues the run renews it.
    expect(await ttl(named)).toBeLessThanOrEqual(5000);
    expect(await client.xlen(named)).toBe(1);
    reader.close();
  });

  // A look at them is under way when the program ends, as it often is after a blocked loop.
  test("are not made again once it has closed them", async () => {
    reader.close();
    await client.del(own);
    await reader.keepStreams(60_000);
    expect(await client.exists(own)).toBe(0);
  });

  test("are not made again while it closes them", async () => {
    const named = keys.reports("named");
    reader.add(named, "0");
    const kept = reader.keepStreams(60_000);
    reader.close();
    await client.del(own, named);
    await kept;
    expect(await client.exists(own, named)).toBe(0);
  });

  test("are not made again once a run is over", async () => {
    const named = keys.reports("named");
    reader.add(named, "0");
    const kept = reader.keepStreams(60_000);
    reader.remove(named);
    await client.del(named);
    await kept;
    expect(await client.exists(named)).toBe(0);
    reader.close();
  });
});
