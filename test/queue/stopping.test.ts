/** What ends a queue worker from outside: signals, and a machine that cannot run its worker. */
import { rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Works } from "../fixtures/queue/served.mjs";
import { untilPrinted } from "../support/machines.js";
import { describeWithRedis } from "../support/redis-server.js";
import { rejection } from "../support/rejection.js";
import { fixture, outputOf, startScript } from "../support/run-script.js";
import { servedQueues } from "../support/served-queue.js";
import { temporaryDirectory } from "../support/temporary.js";
import { until } from "../support/until.js";

describeWithRedis("a program with a queue worker", () => {
  const queues = servedQueues();

  async function start(file: string, options = {}) {
    const { connection, prefix } = queues.options;
    const all = { connection, prefix, processes: 1, prefetch: 2, ...options };
    const child = startScript(fixture(`queue/${file}`), { args: [JSON.stringify(all)] });
    let text = "";
    child.stdout!.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
    const output = outputOf(child);
    await untilPrinted(child, "ready", () => text);
    return { child, output, text: () => text };
  }

  const active = async () => await queues.queue("works@1").getActiveCount();

  test("finishes its jobs after a first signal", async () => {
    const { child, output } = await start("signalled.mjs");
    const job = await queues.add("works@1", "works@1", { ms: 500, echo: "done" });
    await until(async () => (await active()) === 1);
    child.kill("SIGTERM");
    expect(await queues.result(job)).toBe("done");
    const { code, signal, stdout, stderr } = await output;
    expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: "" });
    expect(stdout).toContain("SIGTERM: no more jobs are taken");
    expect(stdout).toContain("ended, listeners left: 0");
  });

  test("gives its jobs back when they have not ended in time after a signal", async () => {
    const { child, output } = await start("signalled.mjs", { stopTimeout: 300 });
    await queues.add("works@1", "works@1", { ms: 600_000 });
    await until(async () => (await active()) === 1);
    child.kill("SIGINT");
    const { code, stdout } = await output;
    expect(code).toBe(0);
    expect(stdout).toContain("Jobs that have not ended 300 ms after SIGINT: 1 are given back");
    expect(await queues.queue("works@1").getWaitingCount()).toBe(1);
  });

  test("says nothing of jobs if it has none, however little time it gives them", async () => {
    const { child, output } = await start("signalled.mjs", { stopTimeout: 0 });
    child.kill("SIGTERM");
    const { code, stdout } = await output;
    expect(code).toBe(0);
    expect(stdout).not.toContain("given back");
  });

  test("gives its jobs back and exits with 1 after a second signal", async () => {
    const { child, output, text } = await start("signalled.mjs");
    await queues.add("works@1", "works@1", { ms: 600_000 });
    await until(async () => (await active()) === 1);
    child.kill("SIGTERM");
    await until(() => text().includes("no more jobs"));
    child.kill("SIGINT");
    const { code, signal, stdout } = await output;
    expect({ code, signal }).toEqual({ code: 1, signal: null });
    expect(stdout).not.toContain("ended");
    expect(await queues.queue("works@1").getWaitingCount()).toBe(1);
  });

  test("may be of one file, with workers that are not exported", async () => {
    const { child, output } = await start("one-file.mjs");
    const jobs = [
      await queues.add("first@1", "first@1", "a"),
      await queues.add("second@1", "second@1", "b"),
    ];
    expect(await Promise.all(jobs.map((job) => queues.result(job)))).toEqual([
      "first a",
      "second b",
    ]);
    child.kill("SIGTERM");
    expect(await output).toEqual({ code: 0, signal: null, stdout: "made\nready\n", stderr: "" });
  });

  describe("whose worker's module cannot be loaded in a child", () => {
    let file: string;

    async function loadBroken() {
      file = path.join(temporaryDirectory(), "needed");
      writeFileSync(file, "");
      vi.stubEnv("NEEDED_FILE", file);
      const { Broken } = await import("../fixtures/queue/broken.mjs");
      return new Broken();
    }

    afterEach(() => void vi.unstubAllEnvs());

    test("takes no job", async () => {
      const job = await queues.add("works@1", "works@1", { echo: 1 });
      const env = { PATH: process.env["PATH"] };
      const error = await rejection(queues.serve([new Works(), await loadBroken()], { env }));
      expect(error.name).toBe("WorkerModuleError");
      expect(error.message).toContain("its configuration is missing");
      expect(await queues.queue("works@1").getWaitingCount()).toBe(1);
      await queues.serve([new Works()]);
      expect(await queues.result(job)).toBe(1);
    });

    test("gives all jobs back when that happens later, and ends", async () => {
      const logger = { error: vi.fn<(message: string) => void>() };
      const workers = [new Works(), await loadBroken()];
      const { ended, worker } = await queues.serve(workers, { startMethod: "spawn", logger });
      await queues.add("works@1", "works@1", { ms: 600_000 });
      await until(() => worker.stats().jobs.active === 1);
      rmSync(file);
      const job = await queues.add("broken@1", "broken@1", { echo: 1 });
      const error = await rejection(ended);
      expect(error.name).toBe("WorkerModuleError");
      expect(worker.stats().jobs).toMatchObject({ returned: 2, failed: 0 });
      expect(logger.error.mock.calls[0]![0]).toMatch(/^This machine cannot serve: /);
      for (const name of ["works@1", "broken@1"])
        expect(await queues.queue(name).getWaitingCount()).toBe(1);
      expect((await queues.queue("broken@1").getJob(job.id!))!.attemptsMade).toBe(0);
    });
  });

  test("says within two seconds that there is no server", async () => {
    const connection = "redis://127.0.0.1:1";
    const error = await rejection(queues.serve([new Works()], { connection }));
    expect(error.name).toBe("EngineError");
    expect(error.reason).toBe("unreachable");
  });
});
