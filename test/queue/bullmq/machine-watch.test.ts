/** Items that no machine will run cause a warning; an outage of the server does not. */
import { Parallel } from "forkmap";
import { bullmq, QueueWorker } from "forkmap/bullmq";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { Keys } from "../../../src/queue/bullmq/keys.js";
import { MachineWatch } from "../../../src/queue/bullmq/machine-watch.js";
import { MachineEntry } from "../../../src/queue/bullmq/machines.js";
import { Ordered } from "../../fixtures/queue/ordered.mjs";
import { monotonic } from "../../../src/system/monotonic.js";
import { openCaller } from "../../support/queue-caller.js";
import { describeWithRedis, type RedisServer, startRedis } from "../../support/redis-server.js";
import { SOON } from "../../support/soon.js";

describeWithRedis("a worker that no machine serves", () => {
  let server: RedisServer;
  let warnings: Error[];
  const note = (warning: Error) => void warnings.push(warning);
  beforeAll(async () => {
    server = await startRedis();
  });
  beforeEach(async () => {
    await server.command("flushall");
    warnings = [];
    process.on("warning", note);
  });
  afterEach(() => {
    process.off("warning", note);
  });
  const unserved = () =>
    warnings.filter((each) => (each as NodeJS.ErrnoException).code === "FORKMAP_UNSERVED");

  test("is warned of, once, while its items wait; they are run when a machine comes", async () => {
    const engine = bullmq({ connection: server.url, crashTimeout: 3000 });
    const parallel = new Parallel(new Ordered(), { engine });
    const mapped = parallel.mapProcesses([{ n: 1, ms: 0 }]);
    await vi.waitFor(() => expect(unserved()).toHaveLength(1), SOON);
    expect(unserved()[0]!.message).toBe(
      "No machine serves the queue ordered@1: items wait for one. Start `forkmap serve`, or a QueueWorker, with ordered@1",
    );
    expect(parallel.stats().machines).toBe(0);
    const worker = new QueueWorker([new Ordered()], {
      connection: server.url,
      signals: false,
    });
    const serving = worker.run();
    expect(await mapped).toEqual([2]);
    expect(unserved()).toHaveLength(1);
    await parallel.close();
    worker.stop();
    await serving;
  });

  test("is warned of when the machines of its queue have other workers, and are busy", async () => {
    const { client, queue } = await openCaller(server.url);
    const keys = new Keys("bull", "q");
    const watch = new MachineWatch({ client, keys, queue } as never, "wanted@1");
    const record = { id: "a", name: "a", workers: ["other@1"], slots: 3 };
    const entry = new MachineEntry(client, [keys], record, 60_000);
    await entry.enter();
    await watch.look([{ madeAt: monotonic() }] as never);
    await watch.look([{ madeAt: monotonic() - 4000 }] as never);
    await vi.waitFor(() => expect(unserved()).toHaveLength(1), SOON);
    expect(unserved()[0]!.message).toBe(
      "The machine that serves the queue q does not have wanted@1: items wait for one. Start `forkmap serve`, or a QueueWorker, with wanted@1",
    );
    expect(watch.count).toBe(0);
    entry.leave();
  });

  test("is not warned of when the machines were there: after an outage they come back", async () => {
    const { client, queue } = await openCaller(server.url);
    const keys = new Keys("bull", "q");
    const record = { id: "a", name: "a", workers: ["missed@1"], slots: 3 };
    const entry = new MachineEntry(client, [keys], record, 60_000);
    await entry.enter();
    const watch = new MachineWatch({ client, keys, queue } as never, "missed@1");
    const waiting = [{ madeAt: 0 }] as never;
    await watch.look(waiting);
    expect([watch.count, watch.slots]).toEqual([1, 3]);
    entry.leave();
    for (let looks = 0; looks < 3; looks += 1) await watch.look(waiting);
    expect(watch.count).toBe(0);
    // One that never saw a machine warns at once of the same.
    await new MachineWatch({ client, keys, queue } as never, "new@1").look(waiting);
    await vi.waitFor(() => expect(unserved()).toHaveLength(1), SOON);
    expect(unserved()[0]!.message).toMatch(/with new@1$/);
  });
});
