import {
  type Container,
  FailureRatePolicy,
  type InstanceEnd,
  type InstanceInfo,
  Policy,
} from "forkmap/container";
import { describe, expect, it } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { contained, PLACES, soon } from "../support/contained.js";
import { warned } from "../support/warned.js";

const warnings = warned();
const quick = { min: 5, max: 10 };

describe.each(PLACES.slice(0, 3))("a policy is told: $name", ({ options, kind }) => {
  it("the container, the instance and how it ended, in the order of events", async () => {
    const { container, policy } = contained(options);
    const steps = [
      ["ready up", "sleep 50", "throw why"],
      ["ready", "stay"],
    ];
    container.spawn(new Performs(steps), {
      name: "web",
      key: "k",
      restart: "always",
      backoff: quick,
    });
    await soon(() =>
      expect(container.instances[0]).toMatchObject({ generation: 2, state: "ready" }),
    );
    await container.stop();
    const hooks = ["spawned", "ready", "exited", "spawned", "ready", "exited"];
    expect(policy.hooks()).toEqual(hooks);
    const common = { num: 0, name: "web", key: "k", kind };
    for (const [i, { instance }] of policy.told.entries()) {
      const generation = i < 3 ? 1 : 2;
      expect(instance).toMatchObject({ ...common, generation, restarts: generation - 1 });
      expect(instance.pid).toBeGreaterThan(1);
    }
    const states = policy.told.map(({ instance }) => instance.state);
    expect(states).toEqual(["starting", "ready", "ready", "starting", "ready", "stopping"]);
    expect(policy.told[2]!.instance.status).toBe("up");
    const [first, last] = policy.ends;
    expect(first).toEqual({
      how: "exit code 1: RangeError: why",
      exitCode: 1,
      signal: undefined,
      error: expect.objectContaining({ name: "RangeError", message: "why", code: "ETHROWN" }),
      isFailure: true,
      wasKilled: false,
      wasReady: true,
      age: expect.any(Number),
      restartIn: expect.any(Number),
      isGivenUp: false,
    });
    expect(first!.age).toBeGreaterThanOrEqual(50);
    expect(last).toMatchObject({ isFailure: false, restartIn: undefined, isGivenUp: false });
    expect(warnings).toEqual([]);
  });
});

describe("a policy", () => {
  it("whose hooks fail is warned of, and changes nothing else", async () => {
    class Bad extends Policy {
      override spawned(): void {
        throw new RangeError("by spawned");
      }
      override async ready(): Promise<void> {
        throw new RangeError("by ready");
      }
      override exited(): Promise<void> {
        // oxlint-disable-next-line prefer-promise-reject-errors
        return Promise.reject("a string");
      }
    }
    const { container } = contained({ policy: new Bad() });
    const steps = [
      ["ready", "sleep 20", "exit 1"],
      ["ready", "stay"],
    ];
    container.spawn(new Performs(steps), { restart: "always", backoff: quick });
    await soon(() =>
      expect(container.instances[0]).toMatchObject({ generation: 2, state: "ready" }),
    );
    await container.stop();
    const texts = warnings.map(({ message }) => message.split("\n")[0]);
    expect(texts).toEqual([
      "The hook spawned of the container's policy failed: RangeError: by spawned",
      "The hook ready of the container's policy failed: RangeError: by ready",
      'The hook exited of the container\'s policy failed: "a string" (a string)',
      "The hook spawned of the container's policy failed: RangeError: by spawned",
      "The hook ready of the container's policy failed: RangeError: by ready",
      'The hook exited of the container\'s policy failed: "a string" (a string)',
    ]);
    expect(new Set(warnings.map(({ code }) => code))).toEqual(new Set(["FORKMAP_POLICY"]));
  });

  it("warns of each clock that ran out", async () => {
    const { container } = contained({ policy: new Policy() });
    container.spawn(new Performs(["heed", "linger"]), { name: "slow", startupTimeout: 600 });
    container.spawn(new Performs(["ready", "heed", "linger"]), {
      name: "sick",
      healthCheckTimeout: 400,
    });
    await soon(() => expect(container.size).toBe(0));
    const texts = warnings.map(({ message }) => message).toSorted();
    expect(texts).toEqual([
      expect.stringMatching(
        /^sick num 1 \(pid \d+\) ended: it gave no sign of health for 400 ms\. It is not restarted$/,
      ),
      expect.stringMatching(
        /^sick num 1 \(pid \d+\) is killed: it has given no sign of health for \d+ ms \(`healthCheckTimeout`: 400\)$/,
      ),
      expect.stringMatching(
        /^slow num 0( \(pid \d+\))? ended: it was not ready after 600 ms\. It is not restarted$/,
      ),
      expect.stringMatching(
        /^slow num 0( \(pid \d+\))? is killed: it was not ready after \d+ ms \(`startupTimeout`: 600\)$/,
      ),
    ]);
  });

  it("may stop the container from within a hook", async () => {
    class Strict extends Policy {
      override exited(container: Container, _: InstanceInfo, end: InstanceEnd): void {
        if (end.isFailure) void container.stop();
      }
    }
    const { container } = contained({ policy: new Strict() });
    container.run(new Performs(["ready", "stay"]), { count: 2, restart: "always" });
    container.spawn(new Performs(["ready", "sleep 100", "exit 1"]), {
      restart: "always",
      backoff: quick,
    });
    await container.waitUntilReady();
    await container.wait();
    expect(container.isStopping).toBe(true);
    expect(container.statistics).toMatchObject({ spawns: 3, restarts: 0, failures: 1 });
  });
});

describe("FailureRatePolicy", () => {
  it("stops the container when instances fail too often", async () => {
    const { container } = contained({
      policy: new FailureRatePolicy({ failures: 3, within: 60_000 }),
    });
    container.run(new Performs(["ready", "stay"]), { count: 2, restart: "always" });
    container.spawn(new Performs(["exit 1"]), { restart: "always", backoff: quick });
    await soon(() => expect(container.isRunning).toBe(false));
    expect(container.isStopping).toBe(true);
    expect(container.statistics.failures).toBe(3);
    const texts = warnings.map(({ message }) => message);
    expect(texts).toHaveLength(4);
    expect(texts[3]).toBe("The container is stopped: its instances failed 3 times within 60000 ms");
  });

  it("forgets failures of long ago, and counts no ends that are none", async () => {
    const { container } = contained({
      policy: new FailureRatePolicy({ failures: 3, within: 150 }),
    });
    const often = {
      restart: "always",
      backoff: { min: 1, max: 1 },
      intensity: { restarts: 100 },
    } as const;
    container.spawn(new Performs(["ready", "sleep 120", "exit 1"]), often);
    container.spawn(new Performs(["ready", "sleep 10"]), often);
    await soon(() => expect(container.statistics.failures).toBeGreaterThan(4));
    expect(container.isStopping).toBe(false);
    await container.stop();
  });

  it.each([
    [{ failures: 0, within: 1 }, "failures"],
    [{ failures: 1, within: -1 }, "within"],
    [{ failures: "3", within: 1 }, "failures"],
    [{ failures: 1 }, "within"],
  ])("rejects %j", (limit, name) => {
    expect(() => new FailureRatePolicy(limit as never)).toThrow(
      new RegExp(`^Expected \`${name}\` to be a number above 0, got `),
    );
  });
});

describe("statistics", () => {
  it("count children, restarts and failures, and how often of late", async () => {
    const { container } = contained();
    expect(container.statistics).toEqual({
      spawns: 0,
      restarts: 0,
      failures: 0,
      restartRate: 0,
      failureRate: 0,
    });
    const steps = [["exit 1"], ["exit 0"], ["die"], ["ready", "stay"]];
    container.spawn(new Performs(steps), { restart: "always", backoff: quick });
    await soon(() => expect(container.instances[0]!.state).toBe("ready"));
    const statistics = container.statistics;
    expect(statistics).toMatchObject({ spawns: 4, restarts: 3, failures: 2 });
    expect(statistics.restartRate).toBeCloseTo(3 / 60);
    expect(statistics.failureRate).toBeCloseTo(2 / 60);
    await container.stop();
    expect(container.statistics).toMatchObject({ spawns: 4, restarts: 3, failures: 2 });
  });
});
