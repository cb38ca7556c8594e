import { beforeAll, expect, it, vi } from "vitest";
import { Keys } from "../../../src/queue/bullmq/keys.js";
import { listMachines } from "../../../src/queue/bullmq/machines.js";
import { openCaller } from "../../support/queue-caller.js";
import { startMachine } from "../../support/queue-machine.js";
import { describeWithRedis, type RedisServer, startRedis } from "../../support/redis-server.js";
import { SOON } from "../../support/soon.js";

type Facts = Readonly<Record<string, unknown>>;

describeWithRedis("a machine that serves", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  const setUp = async (plan: Facts = {}, engine: Facts = {}, queue = "q") => {
    await server.command("flushall");
    const caller = await openCaller(server.url, queue);
    const machine = await startMachine({ engine: { connection: server.url, ...engine }, plan });
    return { caller, machine };
  };

  it("acknowledges a job with its result; bytes as base64", async () => {
    const { caller } = await setUp();
    await caller.queue.add("w@1", { give: { a: 1 } }, { jobId: "json" });
    await caller.queue.add("w@1", { bytes: [1, 2, 255] }, { jobId: "bytes" });
    await vi.waitFor(async () => expect(await caller.queue.getCompletedCount()).toBe(2), SOON);
    expect((await caller.queue.getJob("json"))!.returnvalue).toEqual({ a: 1 });
    expect((await caller.queue.getJob("bytes"))!.returnvalue).toEqual({ base64: "AQL/" });
  });

  it("acknowledges a job negatively, with the error's class, message and stack, and runs it again as BullMQ is told to", async () => {
    const { caller, machine } = await setUp();
    await caller.queue.add("w@1", { fail: "no such thing" }, { jobId: "bad", attempts: 2 });
    await vi.waitFor(async () => expect(await caller.queue.getFailedCount()).toBe(1), SOON);
    const { failedReason, stacktrace, attemptsMade } = (await caller.queue.getJob("bad"))!;
    expect(failedReason).toBe("no such thing");
    expect(stacktrace).toHaveLength(2);
    expect(stacktrace![0]).toMatch(/^RangeError: no such thing\n    at follow/);
    expect(attemptsMade).toBe(2);
    expect(machine.all("begun").map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  it("fails a job whose result is no JSON", async () => {
    const { caller } = await setUp();
    await caller.queue.add("w@1", { circular: true }, { jobId: "odd" });
    await vi.waitFor(async () => expect(await caller.queue.getFailedCount()).toBe(1), SOON);
    expect((await caller.queue.getJob("odd"))!.failedReason).toMatch(/circular/);
  });

  it("reports a batch in its caller's stream, and leaves nothing of it to BullMQ", async () => {
    const { caller } = await setUp();
    await caller.addBatch("b", [{ give: "one" }, { fail: "not two" }, { give: ["three"] }]);
    const outcomes = await caller.outcomes("b", 3);
    expect(outcomes[0]).toMatchObject({ result: "one" });
    expect(outcomes[1]).toMatchObject({
      failure: { isRetriable: true, error: { message: "not two", name: "RangeError" } },
    });
    expect(outcomes[2]).toMatchObject({ result: ["three"] });
    await caller.gone("b");
    const events = await caller.client.xrange("bull:q:events", "-", "+");
    expect(JSON.stringify(events)).toContain("completed");
    expect(JSON.stringify(events)).not.toContain("three");
  });

  it("reports that the items of a batch have failed when it could not be run", async () => {
    const { caller } = await setUp();
    await caller.addBatch("b", [{ rejects: "no worker w@1" }, {}]);
    const outcomes = await caller.outcomes("b", 2);
    expect(outcomes).toHaveLength(2);
    for (const [place, outcome] of outcomes.entries()) {
      const { error } = (outcome as { failure: { error: Error } }).failure;
      expect(error.name).toBe("ItemError");
      expect(error.message).toMatch(
        new RegExp(`^Item ${place} could not be run: no worker w@1 \\(num 0 on .+:\\d+\\)$`),
      );
    }
    await caller.gone("b");
  });

  it("fails a batch of a version that it does not know", async () => {
    const { caller, machine } = await setUp();
    await caller.queue.add("w@1", { forkmap: 99, to: caller.stream }, { jobId: "new" });
    await vi.waitFor(async () => expect(await caller.queue.getFailedCount()).toBe(1), SOON);
    expect((await caller.queue.getJob("new"))!.failedReason).toMatch(/version 99/);
    expect(machine.has("begun")).toBe(false);
  });

  it("tells of a job that it cannot acknowledge, and goes on", async () => {
    const { caller, machine } = await setUp();
    await caller.addBatch("b", [{ ms: 1000 }]);
    await machine.until("begun", "b");
    await caller.client.del(caller.keys.job("b"), "bull:q:b:lock");
    await machine.until("refused", "b");
    await caller.addBatch("c", [{}]);
    await caller.gone("c");
    expect(machine.has("error")).toBe(false);
  });

  it("aborts a batch, and says when nothing of it runs any more", async () => {
    const { caller, machine } = await setUp();
    await caller.addBatch("b", [{ ms: 600_000 }]);
    await machine.until("begun", "b");
    await caller.abort("b");
    expect(await caller.entry("b")).toEqual({ job: "b", report: undefined });
    await caller.gone("b");
  });

  it("aborts one item of a batch", async () => {
    const { caller, machine } = await setUp();
    await caller.addBatch("b", [{ ms: 600_000 }, { give: "kept" }], { singly: true });
    await machine.until("begun", "b");
    await caller.abort("b", [0]);
    const outcomes = await caller.outcomes("b", 2);
    expect(outcomes[0]).toMatchObject({ failure: {} });
    expect(outcomes[1]).toMatchObject({ result: "kept" });
  });

  it("does not run a batch whose run is over", async () => {
    const { caller, machine } = await setUp();
    await caller.client.del(caller.stream);
    await caller.addBatch("b", [{}]);
    await caller.gone("b");
    expect(machine.has("begun")).toBe(false);
    expect(await caller.client.exists(caller.stream)).toBe(0);
  });

  it("holds no more than `prefetch` jobs and one for each queue", async () => {
    const { caller, machine } = await setUp({ queues: ["a", "b"], prefetch: 3 }, {}, "a");
    const other = await openCaller(server.url, "b");
    const jobs = Array.from({ length: 12 }, (_, index) => ({
      name: "w@1",
      data: { ms: 100 },
      opts: { jobId: `job-${index}` },
    }));
    await Promise.all([caller.queue.addBulk(jobs), other.queue.addBulk(jobs)]);
    await vi.waitFor(() => expect(machine.all("done")).toHaveLength(24), SOON);
    let [held, most] = [0, 0];
    for (const { what } of machine.said) {
      if (what === "begun") held += 1;
      if (what === "done") held -= 1;
      most = Math.max(most, held);
    }
    expect(most).toBeGreaterThanOrEqual(3);
    expect(most).toBeLessThanOrEqual(5);
  });

  it("gives a queue the places that another has left, though none of its own jobs ends", async () => {
    const { caller, machine } = await setUp({ queues: ["a", "b"], prefetch: 3 }, {}, "a");
    const other = await openCaller(server.url, "b");
    for (const id of [1, 2, 3]) await other.addBatch(`b${id}`, [{ ms: 600_000 }]);
    for (const id of [1, 2, 3]) await machine.until("begun", `b${id}`);
    for (const id of [1, 2, 3]) await caller.addBatch(`a${id}`, [{ ms: 600_000 }]);
    await machine.until("begun", "a1");
    for (const id of [1, 2, 3]) await other.abort(`b${id}`);
    for (const id of [2, 3]) await machine.until("begun", `a${id}`);
  });

  it("is listed while it serves", async () => {
    const plan = { slots: 7, workers: ["w@1", "x@2"] };
    const { caller, machine } = await setUp(plan, { crashTimeout: 1500 });
    const other = await startMachine({
      engine: { connection: server.url, crashTimeout: 1500 },
      plan,
    });
    const list = () => listMachines(caller.client, new Keys("bull", "q"));
    const listed = await list();
    expect(listed).toHaveLength(2);
    expect(listed[0]).toMatchObject(plan);
    expect(listed.map(({ name }) => Number(name.split(":").at(-1))).sort()).toEqual(
      [machine.pid, other.pid].sort(),
    );
    machine.tell({ do: "stop" });
    await machine.until("stop");
    expect(await list()).toHaveLength(1);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(await list()).toHaveLength(1);
    other.signal("SIGKILL");
    await vi.waitFor(async () => expect(await list()).toEqual([]), SOON);
    await vi.waitFor(async () => expect(await caller.client.exists(caller.keys.machines)).toBe(0));
  });

  it("goes on when the server refuses commands for a while", async () => {
    const { caller, machine } = await setUp();
    await caller.addBatch("b", [{ ms: 300 }]);
    await machine.until("begun", "b");
    await server.command("config", "set", "min-replicas-to-write", 1);
    await machine.until("error");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await server.command("config", "set", "min-replicas-to-write", 0);
    expect(await caller.outcomes("b", 1)).toMatchObject([{ result: "done" }]);
    await caller.gone("b");
    await caller.addBatch("c", [{}]);
    await caller.gone("c");
    expect(machine.all("begun", "b")).toHaveLength(1);
  });
});
