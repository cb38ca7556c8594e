import { ClosedError } from "forkmap";
import { describe, expect, it } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { contained, notesIn, PLACES, PROCESSES, soon } from "../support/contained.js";
import { descendants, isAlive } from "../support/leftovers.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

const module = new URL("../fixtures/services/hangs-while-loading.mjs", import.meta.url);

describe.each(PROCESSES)("stop: $name", ({ options }) => {
  it("ends at once an instance that never looks at its signal", async () => {
    const { container, policy } = contained(options);
    container.spawn(new Performs(["ready", "linger"]), { restart: "always" });
    await container.waitUntilReady();
    await container.stop(60_000);
    expect(policy.ends).toEqual([
      expect.objectContaining({ exitCode: 130, isFailure: false, restartIn: undefined }),
    ]);
    expect(container.statistics).toMatchObject({ failures: 0, restarts: 0 });
  });

  it("kills what an instance has started along with it", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const { container } = contained(options);
    container.spawn(new Performs(["heed", "grandchild", "ready", "linger"], file));
    await container.waitUntilReady();
    const [{ grandchild }] = notesIn(file);
    await container.stop(300);
    await soon(() => expect(isAlive(grandchild)).toBe(false));
  });

  it("takes the shorter of two graces, and shows the instance as stopping", async () => {
    const { container } = contained(options);
    container.run(new Performs(["heed", "ready", "linger"]), { count: 2, restart: "always" });
    await container.waitUntilReady();
    const first = container.stop(60_000);
    expect(container.isStopping).toBe(true);
    expect(container.instances.map(({ state }) => state)).toEqual(["stopping", "stopping"]);
    const second = container.stop(100);
    await Promise.all([first, second]);
    expect(container.instances).toEqual([]);
  });

  it("may be cut short by stop(false)", async () => {
    const { container } = contained(options);
    container.run(new Performs(["heed", "ready", "linger"]), { count: 2 });
    await container.waitUntilReady();
    const first = container.stop(60_000);
    await container.stop(false);
    await first;
    expect(container.size).toBe(0);
  });

  it("ends a frozen instance after the grace", async () => {
    const { container } = contained(options);
    container.spawn(new Performs(["heed", "ready", "sleep 50", "freeze"]));
    await container.waitUntilReady();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const asked = Date.now();
    await container.stop(400);
    expect(Date.now() - asked).toBeLessThan(1400);
  });

  it("lets an instance end in its own time within the grace, with its own exit code", async () => {
    const { container, policy } = contained(options);
    container.spawn(new Performs(["ready", "stay", "sleep 300", "exit 5"]), { restart: "always" });
    await container.waitUntilReady();
    await container.stop();
    expect(policy.ends).toEqual([
      expect.objectContaining({ how: "exit code 5", exitCode: 5, isFailure: false }),
    ]);
  });
});

describe.each(PLACES)("stop: $name", ({ options, run }) => {
  it("ends instances that are starting", async () => {
    const { container, policy } = contained(options);
    container.run(new Performs(["stay"]), { ...run, count: 2, restart: "always" });
    await soon(() => expect(policy.hooks()).toEqual(["spawned", "spawned"]));
    await container.stop(2000);
    expect(container.size).toBe(0);
    expect(container.statistics).toMatchObject({ spawns: 2, failures: 0 });
  });

  it("ends instances that have no child yet", async () => {
    const { container } = contained(options);
    container.run(new Performs(["ready", "stay"]), { ...run, count: 2, restart: "always" });
    await container.stop();
    expect(container.size).toBe(0);
    expect(container.statistics).toMatchObject({ failures: 0, restarts: 0 });
  });

  it("ends instances that wait for their restart", async () => {
    const { container } = contained(options);
    const backoff = { min: 60_000, max: 60_000 };
    const always = { ...run, restart: "always", backoff, count: 1 } as const;
    container.run(new Performs(run.threads ? ["ready", "sleep 50", "die"] : ["exit 1"]), always);
    await soon(() => expect(container.instances[0]!.state).toBe("waiting"));
    await container.stop();
    expect(container.size).toBe(0);
    expect(container.statistics).toMatchObject({ spawns: 1, restarts: 0, failures: 1 });
  });

  it("leaves the container stopped", async () => {
    const { container } = contained(options);
    container.run(new Performs(["ready", "stay"]), { ...run, count: 1, restart: "always" });
    await container.waitUntilReady();
    await container.stop();
    const again = new Performs(["ready"]);
    expect(() => container.spawn(again)).toThrow(ClosedError);
    expect(() => container.run(again, run)).toThrow("The container has been stopped");
    expect(await rejection(container.restart())).toBeInstanceOf(ClosedError);
    expect(
      await rejection(container.reload((each) => void each.spawn(again, { key: "a" }))),
    ).toBeInstanceOf(ClosedError);
    await container.waitUntilReady();
    await container.wait();
    await container.stop(false);
    expect(descendants()).toEqual([]);
  });

  it("asks instances to stop by interrupt, for as long as they take", async () => {
    const { container, policy } = contained(options);
    container.run(new Performs(["ready", "stay", "sleep 200"]), {
      ...run,
      count: 2,
      restart: "always",
    });
    await container.waitUntilReady();
    container.interrupt();
    expect(container.isStopping).toBe(true);
    expect(() => container.spawn(new Performs(["ready"]))).toThrow(ClosedError);
    await container.wait();
    expect(policy.ends.map(({ isFailure }) => isFailure)).toEqual([false, false]);
    await container.stop();
  });
});

describe("stop", () => {
  it("ends instances whose module hangs while it loads", async () => {
    for (const { options } of PLACES.slice(0, 3)) {
      const { container } = contained(options);
      container.spawn(new Performs(["ready"]), { module });
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(container.instances[0]!.state).toBe("starting");
      await container.stop(500);
      expect(container.size).toBe(0);
    }
  });

  it("ends threads at any moment of their start", async () => {
    for (let i = 0; i < 12; i += 1) {
      const sockets = { http: { host: "127.0.0.1", port: 0 } };
      const { container } = contained({ startMethod: "thread", sockets });
      container.run(new Performs(["ready", "stay"]), { count: 2 });
      await new Promise((resolve) => setTimeout(resolve, i * 5));
      await container.stop(false);
      expect(container.size).toBe(0);
    }
  });

  it("is what a container is disposed of by", async () => {
    const { container } = contained();
    container.run(new Performs(["ready", "stay"]), { count: 2 });
    await container.waitUntilReady();
    await container[Symbol.asyncDispose]();
    expect(container.size).toBe(0);
    expect(container.isStopping).toBe(true);
  });

  it("of an empty container ends", async () => {
    const { container } = contained();
    await container.waitUntilReady();
    await container.wait();
    await container.stop();
    await container.stop(0);
  });

  it.each([[-1], ["soon"], [Number.NaN], [null]])("rejects %s as a grace", async (grace) => {
    const { container } = contained();
    const error = await rejection(container.stop(grace as number));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^Expected .*`graceful`.* to be a boolean or .*, got /);
    expect(container.isStopping).toBe(false);
  });
});
