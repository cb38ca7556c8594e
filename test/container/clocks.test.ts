import { describe, expect, it } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { contained, notesIn, PROCESSES, soon } from "../support/contained.js";
import { isAlive } from "../support/leftovers.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

const quick = { min: 5, max: 10 };

describe.each(PROCESSES)("the clock of an instance: $name", ({ options }) => {
  it("kills what is not ready in time, with all that it has started", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const { container, policy } = contained(options);
    container.spawn(new Performs(["heed", "grandchild", "linger"], file), {
      name: "slow",
      startupTimeout: 2500,
    });
    await soon(() => expect(notesIn(file)).toHaveLength(1));
    const [{ grandchild }] = notesIn(file);
    expect(isAlive(grandchild)).toBe(true);
    const error = await rejection(container.waitUntilReady());
    expect(error.message).toBe(
      "slow num 0 has failed and is not restarted: it ended before it was ready (it was not ready after 2500 ms)",
    );
    expect(error).toMatchObject({ signal: "SIGKILL", exitCode: undefined });
    await soon(() => expect(isAlive(grandchild)).toBe(false));
    expect(policy.hooks().slice(-2)).toEqual(["startFailed", "exited"]);
    const { clock } = policy.told.at(-2)!;
    expect(clock).toMatchObject({ timeout: 2500 });
    expect(clock!.age).toBeGreaterThanOrEqual(2490);
  });

  it("takes signs of health and a status for no readiness", async () => {
    const { container, policy } = contained(options);
    container.spawn(new Performs(["heed", "beat", "status almost", "linger"]), {
      startupTimeout: 2500,
      healthCheckTimeout: 300,
    });
    await soon(() => expect(container.instances[0]!.status).toBe("almost"));
    expect(container.instances[0]!.state).toBe("starting");
    await soon(() => expect(container.size).toBe(0));
    expect(policy.ends[0]!.how).toBe("it was not ready after 2500 ms");
    expect(policy.hooks()).not.toContain("healthCheckFailed");
  });

  it("asks for no sign of health before the instance is ready", async () => {
    const { container, policy } = contained(options);
    container.spawn(new Performs(["sleep 1300", "beat", "ready", "stay"]), {
      healthCheckTimeout: 1000,
    });
    await container.waitUntilReady();
    expect(container.instances[0]).toMatchObject({ generation: 1, state: "ready" });
    // Long enough for the clock, had the signs not counted.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    expect(policy.ends).toEqual([]);
    await container.stop();
  });

  it("takes a status for no sign of health", async () => {
    const { container, policy } = contained(options);
    container.spawn(new Performs(["ready", "chat", "linger"]), { healthCheckTimeout: 500 });
    await soon(() => expect(container.size).toBe(0));
    expect(policy.ends[0]!.how).toBe("it gave no sign of health for 500 ms");
  });

  it("restarts what is not ready in time, also while all wait for it", async () => {
    const { container } = contained(options);
    const steps = [
      ["heed", "linger"],
      ["ready second", "stay"],
    ];
    container.spawn(new Performs(steps), {
      restart: "on-failure",
      startupTimeout: 3000,
      backoff: quick,
    });
    await container.waitUntilReady();
    expect(container.instances[0]).toMatchObject({ generation: 2, restarts: 1, status: "second" });
    await container.stop();
  });

  it.each(["block", "freeze"])("kills what gives no sign of health: %s", async (way) => {
    const file = `${temporaryDirectory()}/notes`;
    const { container, policy } = contained(options);
    const steps = [
      ["heed", "grandchild", "ready", "beat", "sleep 100", way],
      ["ready", "beat", "stay"],
    ];
    container.spawn(new Performs(steps, file), {
      restart: "on-failure",
      healthCheckTimeout: 700,
      backoff: quick,
    });
    await soon(() =>
      expect(container.instances[0]).toMatchObject({ generation: 2, state: "ready" }),
    );
    const hooks = policy.hooks().slice(0, 4);
    expect(hooks).toEqual(["spawned", "ready", "healthCheckFailed", "exited"]);
    const [, , { clock }] = policy.told;
    expect(clock).toMatchObject({ timeout: 700 });
    expect(clock!.age).toBeGreaterThanOrEqual(700);
    expect(policy.ends[0]).toMatchObject({
      how: "it gave no sign of health for 700 ms",
      signal: "SIGKILL",
      isFailure: true,
      wasReady: true,
    });
    await soon(() => expect(isAlive(notesIn(file)[0].grandchild)).toBe(false));
    await container.stop();
  });

  it("kills what closes its channel and lives on", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const { container, policy } = contained(options);
    const deaf = ["heed", "grandchild", "ready", "sleep 50", "deafen", "linger"];
    container.spawn(new Performs([deaf, ["ready", "stay"]], file), {
      restart: "on-failure",
      backoff: quick,
    });
    await soon(() =>
      expect(container.instances[0]).toMatchObject({ generation: 2, state: "ready" }),
    );
    expect(policy.ends[0]).toMatchObject({
      how: "it has closed its channel, and lived on",
      isFailure: true,
      signal: "SIGKILL",
    });
    await soon(() => expect(isAlive(notesIn(file)[0].grandchild)).toBe(false));
    await container.stop();
  });

  it("runs while its module loads", async () => {
    const { container, policy } = contained(options);
    const module = new URL("../fixtures/services/hangs-while-loading.mjs", import.meta.url);
    container.spawn(new Performs(["ready"]), { startupTimeout: 700, module });
    const error = await rejection(container.waitUntilReady());
    expect(error.message).toMatch(
      /^Performs num 0 has failed and is not restarted: it ended before it was ready \(.* 700 ms/,
    );
    expect(policy.ends).toHaveLength(1);
    await container.stop();
  });
});
