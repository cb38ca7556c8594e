import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { openCaller } from "../../support/queue-caller.js";
import { startMachine } from "../../support/queue-machine.js";
import { describeWithRedis, type RedisServer, startRedis } from "../../support/redis-server.js";
import { SOON } from "../../support/soon.js";

/** Returns the URL of a proxy that answers nothing to connections with such first words. */
async function proxyOf(server: RedisServer, mute: RegExp): Promise<string> {
  const proxy = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (words) => {
      if (mute.test(String(words))) return;
      const upstream = connect(server.port, "127.0.0.1");
      upstream.on("error", () => {});
      upstream.write(words);
      socket.pipe(upstream).pipe(socket);
    });
  });
  proxy.listen(0, "127.0.0.1").unref();
  await once(proxy, "listening");
  return `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
}

describeWithRedis("a machine that is to end", () => {
  let server: RedisServer;
  beforeEach(async () => {
    server = await startRedis({ appendOnly: true });
  });
  afterEach(async () => {
    await server.stop();
  });
  const start = (engine: Readonly<Record<string, unknown>> = {}, plan = {}) =>
    startMachine({ engine: { connection: server.url, ...engine }, plan });

  it("runs and acknowledges all it has, once stopped, and takes no more", async () => {
    const caller = await openCaller(server.url);
    const machine = await start({}, { prefetch: 3 });
    for (const id of ["a", "b", "c", "d"]) await caller.addBatch(id, [{ ms: 1500 }]);
    for (const id of ["a", "b", "c"]) await machine.until("begun", id);
    machine.tell({ do: "stop" });
    expect(await machine.until("stop")).toMatchObject({ jobs: 0 });
    await machine.end();
    for (const id of ["a", "b", "c"]) {
      expect(await caller.outcomes(id, 1)).toMatchObject([{ result: "done" }]);
      expect(await caller.client.exists(caller.keys.job(id))).toBe(0);
    }
    expect(machine.has("begun", "d")).toBe(false);
    expect(await caller.queue.getJobCounts("active", "wait", "failed")).toEqual({
      active: 0,
      wait: 1,
      failed: 0,
    });
  });

  it("gives all jobs back at once, when killed, without using up an attempt", async () => {
    const caller = await openCaller(server.url);
    const first = await start({ crashTimeout: 60_000 });
    await caller.addBatch("b", [{ ms: 600_000 }]);
    await caller.queue.add("w@1", { ms: 600_000 }, { jobId: "single", attempts: 2 });
    await first.until("begun", "b");
    await first.until("begun", "single");
    const second = await start({ crashTimeout: 60_000 });
    first.tell({ do: "kill" });
    const began = performance.now();
    await second.until("begun", "b");
    expect(await second.until("begun", "single")).toMatchObject({ attempt: 1 });
    // Its lock would have held for 40 s.
    expect(performance.now() - began).toBeLessThan(20_000);
    await first.end();
    expect(first.has("refused")).toBe(false);
    expect((await caller.queue.getJob("single"))!.attemptsMade).toBe(0);
  });

  it("gives jobs back that go on running, and ends", async () => {
    const caller = await openCaller(server.url);
    const first = await start();
    await caller.addBatch("b", [{ ms: 600_000, deaf: true }]);
    await first.until("begun", "b");
    const second = await start();
    first.tell({ do: "kill" });
    await second.until("begun", "b");
    expect(await first.until("kill")).toMatchObject({ jobs: 0 });
  });

  it("is killed while it stops", async () => {
    const caller = await openCaller(server.url);
    const first = await start();
    await caller.addBatch("b", [{ ms: 600_000 }]);
    await first.until("begun", "b");
    first.tell({ do: "stop" });
    first.tell({ do: "stop" });
    first.tell({ do: "kill" });
    first.tell({ do: "kill" });
    await first.until("kill");
    await first.until("stop");
    await first.end();
    const second = await start();
    await second.until("begun", "b");
  });

  it("runs a job once though the server was killed meanwhile, and away for longer than a lock holds", async () => {
    const caller = await openCaller(server.url);
    const machine = await start({ crashTimeout: 1500 });
    await caller.addBatch("short", [{ ms: 500 }]);
    await caller.addBatch("long", [{ ms: 6000 }]);
    await caller.queue.add("w@1", { ms: 500 }, { jobId: "single" });
    for (const id of ["short", "long", "single"]) await machine.until("begun", id);
    await server.kill("SIGKILL");
    await machine.until("disconnected");
    await machine.until("done", "short");
    await new Promise((resolve) => setTimeout(resolve, 2500));
    await server.restart();
    expect(await caller.outcomes("short", 1)).toMatchObject([{ result: "done" }]);
    expect(await caller.outcomes("long", 1)).toMatchObject([{ result: "done" }]);
    await caller.gone("long");
    await vi.waitFor(async () => expect(await caller.queue.getCompletedCount()).toBe(1), SOON);
    for (const id of ["short", "long", "single"]) expect(machine.all("begun", id)).toHaveLength(1);
    expect(machine.said.map(({ what }) => what).filter((what) => /nected/.test(what))).toEqual([
      "connected",
      "disconnected",
      "connected",
    ]);
    expect(machine.has("error")).toBe(false);
    expect(await caller.queue.getFailedCount()).toBe(0);
  });

  it("leaves the others time to take their locks again when the server is back", async () => {
    const caller = await openCaller(server.url);
    const machine = await start({ crashTimeout: 6000 });
    const { client, keys } = caller;
    // As if another machine had it, which is slow to connect again.
    await caller.queue.add("w@1", { ms: 0 }, { jobId: "other", delay: 3_600_000 });
    const lock = `${keys.job("other")}:lock`;
    await client
      .multi()
      .zrem("bull:q:delayed", "other")
      .lpush("bull:q:active", "other")
      .sadd("bull:q:stalled", "other")
      .set(lock, "token", "PX", 2500)
      .exec();
    await server.kill("SIGKILL");
    await machine.until("disconnected");
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await server.restart();
    await vi.waitFor(() => expect(machine.all("connected")).toHaveLength(2), SOON);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(await client.exists(lock)).toBe(0);
    await client.set(lock, "token", "PX", 600_000);
    await new Promise((resolve) => setTimeout(resolve, 4000));
    expect(machine.has("begun")).toBe(false);
    await client.del(lock);
    await machine.until("begun", "other");
  });

  it("ends when killed, though the connection that waits for jobs never came to be", async () => {
    const caller = await openCaller(server.url);
    await caller.addBatch("b", [{ ms: 600_000 }]);
    // As on a server that takes no more clients, or is killed at this moment. BullMQ names this connection after its queue.
    const machine = await start({ connection: await proxyOf(server, /bull:cQ==:w/) });
    await machine.until("begun", "b");
    machine.tell({ do: "kill" });
    expect(await machine.until("kill")).toMatchObject({ jobs: 0 });
    await machine.end();
    expect(await caller.queue.getJobCounts("wait", "active")).toEqual({ wait: 1, active: 0 });
  });

  it("waits for the server, once stopped, to acknowledge what it has", async () => {
    const caller = await openCaller(server.url);
    const machine = await start();
    await caller.addBatch("b", [{ ms: 500 }]);
    await machine.until("begun", "b");
    await server.kill("SIGKILL");
    await machine.until("disconnected");
    machine.tell({ do: "stop" });
    await machine.until("done", "b");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(machine.has("stop")).toBe(false);
    await server.restart();
    await machine.until("stop");
    await machine.end();
    expect(await caller.outcomes("b", 1)).toMatchObject([{ result: "done" }]);
    expect(await caller.client.exists(caller.keys.job("b"))).toBe(0);
  });

  it("does not wait for a server that is away, when killed, also while it stops", async () => {
    const caller = await openCaller(server.url);
    const machine = await start();
    await caller.addBatch("b", [{ ms: 600_000 }]);
    await machine.until("begun", "b");
    await server.kill("SIGKILL");
    await machine.until("disconnected");
    machine.tell({ do: "stop" });
    machine.tell({ do: "kill" });
    const { ms } = await machine.until("kill");
    expect(ms).toBeLessThan(10_000);
    await machine.until("stop");
    await machine.end();
  });
});
