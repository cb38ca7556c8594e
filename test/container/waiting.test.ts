import { InstanceError, Policy } from "forkmap/container";
import { realpathSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { contained, PLACES, PROCESSES, soon } from "../support/contained.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";
import { warned } from "../support/warned.js";

describe.each(PLACES)("waitUntilReady: $name", ({ options, run }) => {
  it("waits for all, also for those that are started meanwhile", async () => {
    const { container } = contained(options);
    const slow = new Performs(["sleep 150", "ready", "stay"]);
    container.run(slow, { ...run, count: 2 });
    const ready = container.waitUntilReady();
    await new Promise((resolve) => setTimeout(resolve, 50));
    container.run(slow, { ...run, count: 1 });
    await ready;
    expect(container.instances.map(({ state }) => state)).toEqual(["ready", "ready", "ready"]);
    await container.waitUntilReady();
    await container.stop();
  });

  it("does not wait for one that has ended well, without having been ready", async () => {
    const { container, policy } = contained(options);
    container.run(new Performs(["leave 1 300", "ready", "stay"]), { ...run, count: 2 });
    await container.waitUntilReady();
    const states = container.instances.map(({ state }) => state);
    expect(new Set(states)).toEqual(new Set(["ready"]));
    await container.stop();
    expect(policy.ends.filter(({ isFailure }) => isFailure)).toEqual([]);
  });

  it("tells all who wait of a failure, and nobody who asks later", async () => {
    const { container } = contained(options);
    container.run(new Performs(["sleep 50", "throw no"]), { ...run, count: 1 });
    const errors = await Promise.all([
      rejection(container.waitUntilReady()),
      rejection(container.waitUntilReady()),
    ]);
    for (const error of errors) expect(error).toBeInstanceOf(InstanceError);
    container.run(new Performs(["ready", "stay"]), { ...run, count: 1 });
    await container.waitUntilReady();
    expect(container.instances.map(({ state }) => state)).toEqual(["ready"]);
    await container.stop();
  });

  it("ends when the container is stopped", async () => {
    const { container } = contained(options);
    container.run(new Performs(["stay"]), { ...run, count: 2, restart: "always" });
    const ready = container.waitUntilReady();
    await new Promise((resolve) => setTimeout(resolve, 50));
    await container.stop(1000);
    await ready;
    expect(container.size).toBe(0);
  });
});

describe("waitUntilReady", () => {
  const warnings = warned();

  it("goes on after an instance that is restarted", async () => {
    const { container } = contained();
    const steps = [["exit 1"], ["exit 0"], ["ready", "stay"]];
    container.spawn(new Performs(steps), { restart: "always", backoff: { min: 5, max: 5 } });
    await container.waitUntilReady();
    expect(container.instances[0]).toMatchObject({ generation: 3, state: "ready" });
    await container.stop();
  });

  it("warns of what never gets ready", async () => {
    const { container } = contained({ policy: new Policy() });
    container.spawn(new Performs(["ready", "stay"]), { name: "good" });
    container.spawn(new Performs(["stay"]), { name: "silent" });
    const ready = container.waitUntilReady();
    await vi.waitFor(() => expect(warnings).toHaveLength(1), { timeout: 20_000, interval: 50 });
    expect(warnings[0]).toEqual({
      code: "FORKMAP_WAITING",
      message:
        "waitUntilReady() has waited for 10000 ms for silent num 1 (starting): a service calls instance.ready() or instance.serve() when it is ready",
    });
    await container.stop();
    await ready;
  });
});

describe.each(PROCESSES)("the options of a container: $name", ({ options }) => {
  it("say where its instances are", async () => {
    const cwd = realpathSync(temporaryDirectory());
    const { container } = contained({
      ...options,
      cwd,
      env: { PATH: process.env["PATH"], OWN: "yes" },
      execArgv: ["--no-deprecation"],
    });
    container.run(new Performs(["surroundings OWN", "ready", "stay"]), { count: 2 });
    await container.waitUntilReady();
    for (const { status } of container.instances)
      expect(JSON.parse(status)).toEqual(["yes", cwd, ["--no-deprecation"]]);
    await container.stop();
    await soon(() => expect(container.isRunning).toBe(false));
  });
});
