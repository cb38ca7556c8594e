import { InstanceError } from "forkmap/container";
import { describe, expect, it } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { contained, HYBRID, notesIn, PLACES, soon } from "../support/contained.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

describe.each(PLACES)("instances: $name", ({ options, run, kind, inThreads, name: place }) => {
  const isHybrid = place === HYBRID.name;
  const notes = () => `${temporaryDirectory()}/notes`;

  it("know which they are, and have the fields of their service", async () => {
    const file = notes();
    const { container } = contained(options);
    const service = new Performs(["note", "status here", "ready", "stay"], file);
    container.run(service, { ...run, count: 2, name: "web" });
    await container.waitUntilReady();
    const frame = { kind: inThreads ? "thread" : kind, name: "web" };
    const of = (num: number) => {
      const parent = isHybrid ? { kind, num, name: "web" } : null;
      const own = { ...frame, num: isHybrid ? 0 : num };
      const context = parent ? [parent, own] : [own];
      return expect.objectContaining({ ...own, generation: 1, parent, context });
    };
    const numOf = (note: any): number => (note.parent ?? note).num;
    const seen = notesIn(file).toSorted((one, other) => numOf(one) - numOf(other));
    expect(seen).toEqual([of(0), of(1)]);
    const infos = container.instances;
    expect(
      infos.map(({ num, generation, kind, name, state, restarts, key }) => [
        num,
        generation,
        kind,
        name,
        state,
        restarts,
        key,
      ]),
    ).toEqual([0, 1].map((num) => [num, 1, kind, "web", "ready", 0, undefined]));
    expect(container.size).toBe(2);
    expect(container.isRunning).toBe(true);
    for (const { age } of infos) expect(age).toBeGreaterThan(0);
    if (!isHybrid) expect(infos.map(({ status }) => status)).toEqual(["here", "here"]);
    const pids = kind === "thread" ? [process.pid, process.pid] : infos.map(({ pid }) => pid);
    expect(seen.map(({ pid }) => pid)).toEqual(pids);
    await container.stop();
    expect(container.size).toBe(0);
    expect(container.isRunning).toBe(false);
  });

  it("that throw end with exit code 1 and their error", async () => {
    const { container, policy } = contained(options);
    container.run(new Performs(["throw so it goes"]), { ...run, count: 1, name: "web" });
    const error = await rejection(container.waitUntilReady());
    expect(error).toBeInstanceOf(InstanceError);
    expect(error).toMatchObject({
      code: "ERR_PARALLEL_INSTANCE",
      num: 0,
      instanceName: "web",
      exitCode: 1,
      signal: undefined,
      message: expect.stringMatching(
        /^web num 0 has failed and is not restarted: it ended before it was ready \(exit code 1: .*so it goes/,
      ),
    });
    const cause = isHybrid ? error.cause.cause : error.cause;
    if (isHybrid) expect(error.cause.name).toBe("InstanceError");
    expect(cause).toMatchObject({ name: "RangeError", message: "so it goes", code: "ETHROWN" });
    expect(policy.ends).toEqual([
      expect.objectContaining({ exitCode: 1, isFailure: true, wasReady: false, isGivenUp: false }),
    ]);
    expect(container.size).toBe(0);
  });

  it("that end by process.exit or an uncaught error have that code and error", async () => {
    const { container, policy } = contained(options);
    container.run(new Performs(["ready", "exit 3"]), { ...run, count: 1 });
    await soon(() => expect(container.size).toBe(0));
    expect(policy.ends).toEqual([
      expect.objectContaining({ exitCode: isHybrid ? 1 : 3, isFailure: true, wasReady: true }),
    ]);
    const error = await rejection(container.waitUntilReady());
    expect(error.message).toMatch(
      /^Performs num 0 has failed and is not restarted: it ended \(exit code \d/,
    );
    container.run(new Performs(["ready", "uncaught too late"]), { ...run, count: 1 });
    await soon(() => expect(container.size).toBe(0));
    const { error: uncaught } = policy.ends[1] as any;
    expect(isHybrid ? uncaught.cause : uncaught).toMatchObject({
      name: "RangeError",
      message: "too late",
    });
    expect(policy.ends[1]).toMatchObject({ exitCode: 1, isFailure: true });
  });

  it("that return end with exit code 0, which is no failure", async () => {
    const { container, policy } = contained(options);
    container.run(new Performs(["sleep 1"]), { ...run, count: 1, restart: "on-failure" });
    await container.waitUntilReady();
    await soon(() => expect(container.size).toBe(0));
    expect(policy.ends).toEqual([
      expect.objectContaining({
        how: "exit code 0",
        exitCode: 0,
        isFailure: false,
        error: undefined,
      }),
    ]);
    expect(container.statistics).toMatchObject({ spawns: 1, restarts: 0, failures: 0 });
  });

  it("are restarted, and keep their num", async () => {
    const file = notes();
    const { container, policy } = contained(options);
    const steps = [
      ["note", "ready", "sleep 50", "throw once"],
      ["note", "ready", "stay"],
    ];
    container.run(new Performs(steps, file), {
      ...run,
      count: 2,
      restart: "on-failure",
      backoff: { min: 10, max: 20 },
    });
    await soon(() => expect(notesIn(file)).toHaveLength(4));
    await soon(() =>
      expect(container.instances.every(({ state }) => state === "ready")).toBe(true),
    );
    const places = notesIn(file).map(({ num, generation, parent }) => [
      (parent ?? { num }).num,
      generation,
    ]);
    expect(places.toSorted()).toEqual([
      [0, 1],
      [0, 2],
      [1, 1],
      [1, 2],
    ]);
    // Threads in a process are restarted by the process.
    const generation = isHybrid ? 1 : 2;
    expect(
      container.instances.map(({ num, ...info }) => [num, info.generation, info.restarts]),
    ).toEqual([
      [0, generation, generation - 1],
      [1, generation, generation - 1],
    ]);
    if (isHybrid) return expect(policy.ends).toEqual([]);
    expect(container.statistics).toMatchObject({ spawns: 4, restarts: 2, failures: 2 });
    for (const { restartIn } of policy.ends) expect(restartIn).toBeGreaterThan(0);
  });

  it("are killed when they are not ready in time, and when they give no sign of health", async () => {
    const { container, policy } = contained(options);
    container.run(new Performs(["heed", "linger"]), {
      ...run,
      count: 1,
      name: "slow",
      startupTimeout: 700,
    });
    const error = await rejection(container.waitUntilReady());
    expect(error.message).toMatch(
      /^slow num 0 has failed and is not restarted: it ended before it was ready \((it was not ready after 700 ms|exit code 1.*)\)$/,
    );
    container.run(new Performs(["beat", "sleep 100", "ready", "block"]), {
      ...run,
      count: 1,
      name: "stuck",
      healthCheckTimeout: 700,
    });
    await container.waitUntilReady();
    await soon(() => expect(container.size).toBe(0));
    const hooks = policy.hooks().filter((hook) => hook !== "spawned");
    // A process tells for its threads.
    if (isHybrid)
      return expect(policy.ends.map(({ isFailure }) => isFailure)).toEqual([true, true]);
    expect(hooks).toEqual(["startFailed", "exited", "ready", "healthCheckFailed", "exited"]);
    expect(policy.ends.map(({ how }) => how)).toEqual([
      "it was not ready after 700 ms",
      "it gave no sign of health for 700 ms",
    ]);
  });

  it("stop when they are asked to, or are killed after the grace", async () => {
    const file = notes();
    const { container, policy } = contained(options);
    container.run(new Performs(["ready", "stay", "note bye"], file), { ...run, count: 2 });
    await container.waitUntilReady();
    await Promise.all([container.stop(), container.stop()]);
    await container.stop();
    expect(notesIn(file).map(({ text }) => text)).toEqual(["bye", "bye"]);
    expect(policy.ends.map(({ isFailure, restartIn }) => [isFailure, restartIn])).toEqual([
      [false, undefined],
      [false, undefined],
    ]);

    const { container: deaf } = contained(options);
    deaf.run(new Performs(["heed", "ready", "block"]), { ...run, count: 1, restart: "always" });
    await deaf.waitUntilReady();
    const asked = Date.now();
    await deaf.stop(600);
    const took = Date.now() - asked;
    expect(took).toBeGreaterThan(isHybrid ? 0 : 590);
    expect(took).toBeLessThan(1600);
    expect(deaf.size).toBe(0);
  });

  it("are gone at once after stop(false)", async () => {
    const file = notes();
    const { container } = contained(options);
    container.run(new Performs(["ready", "stay", "note bye"], file), {
      ...run,
      count: 2,
      restart: "always",
    });
    await container.waitUntilReady();
    await container.stop(false);
    expect(container.size).toBe(0);
    expect(notesIn(file)).toEqual([]);
  });
});

describe.each(["fork", "spawn"] as const)("threads in processes by %s", (startMethod) => {
  it("have the context of both: two processes with a thread each", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const { container } = contained({ startMethod });
    container.run(new Performs(["note", "ready", "stay"], file), {
      count: 2,
      threads: 1,
      name: "web",
    });
    await container.waitUntilReady();
    const frame = (kind: string, num: number) => ({ kind, num, name: "web" });
    const seen = notesIn(file).toSorted((one, other) => one.parent.num - other.parent.num);
    expect(seen.map(({ kind, num, parent, context }) => ({ kind, num, parent, context }))).toEqual(
      [0, 1].map((process) => ({
        kind: "thread",
        num: 0,
        parent: frame(startMethod, process),
        context: [frame(startMethod, process), frame("thread", 0)],
      })),
    );
    expect(seen.map(({ pid }) => pid)).toEqual(container.instances.map(({ pid }) => pid));
    await container.stop();
  });

  it("are ready without a thread that has ended well before", async () => {
    const { container, policy } = contained({ startMethod });
    container.run(new Performs(["leave 1 300", "ready", "stay"]), { count: 1, threads: 2 });
    await container.waitUntilReady();
    expect(container.instances).toMatchObject([{ state: "ready", generation: 1 }]);
    await container.stop();
    expect(policy.ends).toMatchObject([{ isFailure: false, wasReady: true }]);
  });
});
