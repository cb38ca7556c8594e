/** Three machines and a program that maps, each in a network of its own, which is cut for 20 s and healed: results are exact and in order. */
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { type Counts, countedItems, type Machine, startMachine } from "../support/machines.js";
import { expectNoKeys, startMapping, tellCounts } from "../support/mapping.js";
import {
  NamespaceNetwork,
  type Network,
  ProxyNetwork,
  whyNoNamespaces,
} from "../support/network.js";
import { describeWithRedis, type RedisServer, startRedis } from "../support/redis-server.js";

const CRASH_TIMEOUT_MS = 3000;
const CUT_MS = 20_000;
const IS_LONG = process.env["FORKMAP_LONG"] !== undefined;
const COUNT = IS_LONG ? 20_000 : 10_000;
/** Each item waits so long. */
const ITEM_MS = "40";
const PRODUCER = 3;
const FIRST = 0;

describeWithRedis("a partition of the network", () => {
  let redis: RedisServer;
  let network: Network;
  let counts: Counts;
  let machines: Machine[] = [];

  afterEach(async () => {
    for (const each of machines) each.child.kill("SIGKILL");
    machines = [];
    network.remove();
    counts.remove();
    await redis.stop();
  });

  async function mapThrough(told: string, disturb: () => Promise<void>): Promise<void> {
    redis = await startRedis({ config: [`bind ${network.addresses.join(" ")}`] });
    counts = countedItems();
    const options = { crashTimeout: CRASH_TIMEOUT_MS, processes: 2, fibers: 4, prefetch: 8 };
    machines = await Promise.all(
      [0, 1, 2].map((place) => {
        const command = network.command(place);
        const env = { ...counts.env, MS: ITEM_MS };
        return startMachine({ ...options, connection: network.url(place) }, env, { command });
      }),
    );
    const engine = { connection: network.url(PRODUCER), crashTimeout: CRASH_TIMEOUT_MS };
    const args = [engine, { batch: 20 }, COUNT];
    const mapping = startMapping("producer.mjs", args, network.command(PRODUCER));
    while (counts.read().size < COUNT * 0.1) await pause(50);
    await disturb();
    expect(mapping.output(), "the map goes on after the partition").not.toContain("{");
    expect(await mapping.result()).toEqual({ length: COUNT, wrong: -1 });
    tellCounts(told, counts, COUNT);
    await expectNoKeys(redis);
  }

  async function cut(place: number): Promise<void> {
    network.cut(place);
    await pause(CUT_MS);
    network.heal(place);
  }

  async function cutBoth(): Promise<void> {
    await Promise.all([cut(FIRST), pause(CUT_MS / 4).then(() => cut(PRODUCER))]);
  }

  const why = whyNoNamespaces();
  if (why !== undefined) console.warn(`Skipped: network namespaces, as ${why}`);
  describe.skipIf(why !== undefined)("of network namespaces", { timeout: 240_000 }, () => {
    function make(): void {
      network = new NamespaceNetwork(4, () => redis.port);
    }

    test("a machine, and meanwhile the program that maps", async () => {
      make();
      await mapThrough("a machine and the program cut off", cutBoth);
    });

    test.runIf(IS_LONG)("a machine", async () => {
      make();
      await mapThrough("a machine cut off", () => cut(FIRST));
    });

    test.runIf(IS_LONG)("the program that maps", async () => {
      make();
      await mapThrough("the program cut off", () => cut(PRODUCER));
    });
  });

  // Where there are namespaces, they show more.
  test.runIf(IS_LONG || why !== undefined)("of proxies", { timeout: 240_000 }, async () => {
    network = await ProxyNetwork.open(4, () => redis.port);
    await mapThrough("a machine and the program cut off, by proxies", cutBoth);
  });
});
