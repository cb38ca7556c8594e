import { InstanceError, Policy } from "forkmap/container";
import { describe, expect, it } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { contained, notesIn, PROCESSES, soon } from "../support/contained.js";
import { descendants, isAlive } from "../support/leftovers.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";
import { warned } from "../support/warned.js";

const quick = { min: 5, max: 10 };

describe.each(PROCESSES)("the option restart: $name", ({ options }) => {
  it.each([
    ["never", ["ready"], []],
    ["never", ["throw no"], []],
    ["on-failure", ["ready"], []],
    ["on-failure", ["throw no"], [1]],
    ["on-failure", ["exit 4"], [1]],
    ["on-failure", ["die"], [1]],
    ["always", ["ready"], [1]],
    ["always", ["throw no"], [1]],
  ] as const)("%s after %s restarts %s times", async (restart, once, restarts) => {
    const { container, policy } = contained(options);
    const steps = [[...once], ["ready", "stay"]];
    container.spawn(new Performs(steps), { restart, backoff: quick });
    await soon(() => expect(policy.ends).toHaveLength(1));
    if (restarts.length === 0) {
      await soon(() => expect(container.size).toBe(0));
      expect(policy.ends[0]!.restartIn).toBe(undefined);
    } else {
      await soon(() => {
        const [info] = container.instances;
        expect(info).toMatchObject({ num: 0, generation: 2, restarts: 1, state: "ready" });
      });
      expect(policy.ends[0]!.restartIn).toBeLessThanOrEqual(10);
    }
    expect(container.statistics.restarts).toBe(restarts.length);
    await container.stop();
  });
});

describe("a fork server that is killed", () => {
  it("takes its instances along, which are restarted by another", async () => {
    const { container, policy } = contained();
    container.run(new Performs(["ready", "stay"]), {
      count: 3,
      restart: "on-failure",
      backoff: quick,
    });
    await container.waitUntilReady();
    const pids = container.instances.map(({ pid }) => pid!);
    const server = descendants().find(({ pid }) => pid === pids[0])!.parent;
    expect(pids).not.toContain(server);
    process.kill(server, "SIGKILL");
    await soon(() =>
      expect(
        container.instances.map(({ num, state, generation }) => [num, state, generation]),
      ).toEqual([0, 1, 2].map((num) => [num, "ready", 2])),
    );
    for (const { isFailure, how } of policy.ends) {
      expect(isFailure).toBe(true);
      expect(how).toContain("the fork server ended by SIGKILL");
    }
    expect(pids.filter(isAlive)).toEqual([]);
    await container.stop();
  });
});

describe("backoff", () => {
  it("grows up to its maximum while instances end at once", async () => {
    const { container, policy } = contained();
    const backoff = { min: 10, max: 60, factor: 2 };
    container.spawn(new Performs(["ready", "die"]), { restart: "always", backoff });
    await soon(() => expect(policy.ends.length).toBeGreaterThan(5));
    await container.stop();
    const pauses = policy.ends.slice(0, 6).map(({ restartIn }) => restartIn!);
    for (const [i, most] of [10, 20, 40, 60, 60, 60].entries()) {
      expect(pauses[i]).toBeGreaterThanOrEqual(most / 2);
      expect(pauses[i]).toBeLessThanOrEqual(most);
    }
  });

  it("begins anew once an instance was ready for long enough", async () => {
    const { container, policy } = contained();
    const steps = [
      ["exit 1"],
      ["exit 1"],
      ["exit 1"],
      ["ready", "sleep 400", "exit 1"],
      ["ready", "stay"],
    ];
    container.spawn(new Performs(steps), {
      restart: "always",
      backoff: { min: 20, max: 10_000, factor: 4, resetAfter: 300 },
    });
    await soon(() =>
      expect(container.instances[0]).toMatchObject({ generation: 5, state: "ready" }),
    );
    const pauses = policy.ends.map(({ restartIn }) => restartIn!);
    expect(pauses[2]).toBeGreaterThanOrEqual(160);
    expect(pauses[3]).toBeLessThanOrEqual(20);
    await container.stop();
  });
});

describe("intensity", () => {
  const warnings = warned();

  it("gives up loudly an instance that is restarted too often", async () => {
    const { container } = contained({ policy: new Policy() });
    container.spawn(new Performs(["throw not my day"]), {
      name: "unlucky",
      restart: "always",
      backoff: quick,
      intensity: { restarts: 3, within: 60_000 },
    });
    const error = await rejection(container.waitUntilReady());
    expect(error).toBeInstanceOf(InstanceError);
    expect(error).toMatchObject({
      name: "InstanceError",
      code: "ERR_PARALLEL_INSTANCE",
      message:
        "unlucky num 0 is given up: it ended before it was ready (exit code 1: RangeError: not my day)",
      num: 0,
      instanceName: "unlucky",
      exitCode: 1,
      signal: undefined,
      cause: { name: "RangeError", message: "not my day" },
    });
    expect(error.pid).toBeGreaterThan(1);
    expect(container.size).toBe(0);
    expect(container.statistics).toMatchObject({ spawns: 4, restarts: 3, failures: 4 });
    expect(warnings).toHaveLength(4);
    for (const { code } of warnings) expect(code).toBe("FORKMAP_INSTANCE");
    expect(warnings[0]!.message).toMatch(
      /^unlucky num 0 \(pid \d+\) ended: exit code 1: RangeError: not my day\. It is restarted in \d+ ms$/,
    );
    expect(warnings[3]!.message).toMatch(
      /^unlucky num 0 \(pid \d+\) ended: exit code 1: RangeError: not my day\. It was restarted too often and is given up$/,
    );
  });

  it("counts the restarts of each instance, and not of those of others", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const { container, policy } = contained();
    const intensity = { restarts: 1, within: 60_000 };
    const steps = [["exit 1"], ["note", "ready", "stay"]];
    container.run(new Performs(steps, file), {
      count: 4,
      restart: "always",
      backoff: quick,
      intensity,
    });
    await soon(() => expect(notesIn(file)).toHaveLength(4));
    expect(policy.ends.map(({ isGivenUp }) => isGivenUp)).toEqual([false, false, false, false]);
    await container.stop();
  });

  it("forgets restarts of long ago", async () => {
    const { container, policy } = contained();
    container.spawn(new Performs(["ready", "sleep 150", "exit 1"]), {
      restart: "always",
      backoff: quick,
      intensity: { restarts: 2, within: 200 },
    });
    await soon(() => expect(policy.ends.length).toBeGreaterThan(4));
    expect(policy.ends.map(({ isGivenUp }) => isGivenUp)).not.toContain(true);
    await container.stop();
  });

  it("of 0 restarts nothing", async () => {
    const { container, policy } = contained();
    const intensity = { restarts: 0 };
    container.spawn(new Performs(["exit 1"]), { restart: "always", intensity });
    expect((await rejection(container.waitUntilReady())).message).toMatch(/is given up/);
    expect(policy.ends).toEqual([
      expect.objectContaining({ isGivenUp: true, restartIn: undefined }),
    ]);
  });
});

describe("an instance that ends well, but again and again", () => {
  const warnings = warned();

  it("is given up loudly too", async () => {
    const { container } = contained({ policy: new Policy() });
    container.spawn(new Performs(["ready"]), {
      name: "brief",
      restart: "always",
      backoff: { min: 1, max: 5 },
      intensity: { restarts: 2, within: 60_000 },
    });
    await soon(() => expect(container.size).toBe(0));
    expect(await rejection(container.waitUntilReady())).toBeInstanceOf(InstanceError);
    expect(warnings.at(-1)!.message).toMatch(
      /^brief num 0 \(pid \d+\) ended: exit code 0\. It was restarted too often and is given up$/,
    );
  });
});
