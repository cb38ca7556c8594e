import { ClosedError } from "forkmap";
import type { InstanceInfo, Service } from "forkmap/container";
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { contained, PLACES, PROCESSES, soon } from "../support/contained.js";
import { descendants } from "../support/leftovers.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

const FORKMAP = import.meta.resolve("forkmap/container");
const STAY = `
  void instance.signal;
  instance.ready(VERSION);
  const timer = setInterval(() => {}, 1000);
  await new Promise((done) => instance.signal.addEventListener("abort", done));
  clearInterval(timer);
`;

/** A service whose module can be changed on disk. */
class Changing {
  readonly file = `${temporaryDirectory()}/versioned.mjs`;
  service!: Service;

  write(version: string, run = STAY): void {
    writeFileSync(
      this.file,
      `import { Service } from ${JSON.stringify(FORKMAP)};
      const VERSION = ${JSON.stringify(version)};
      export class Versioned extends Service {
        async run(instance) {${run}}
      }`,
    );
  }

  static async of(version: string): Promise<Changing> {
    const changing = new Changing();
    changing.write(version);
    const { Versioned } = await import(/* @vite-ignore */ pathToFileURL(changing.file).href);
    changing.service = new Versioned();
    return changing;
  }
}

describe.each(PLACES)("a rolling restart: $name", ({ options, run, inThreads }) => {
  it("keeps the nums, counts the generation, and loads the modules anew", async () => {
    const { container, policy } = contained(options);
    const app = await Changing.of("one");
    container.run(app.service, { ...run, count: 3, restart: "always" });
    await container.waitUntilReady();
    const before = container.instances;
    app.write("two");
    await container.restart();
    const after = container.instances;
    expect(after.map(({ num, generation, state }) => [num, generation, state])).toEqual([
      [0, 2, "ready"],
      [1, 2, "ready"],
      [2, 2, "ready"],
    ]);
    // A process does not pass on what its threads tell.
    if (!run.threads) {
      expect(before.map(({ status }) => status)).toEqual(["one", "one", "one"]);
      expect(after.map(({ status }) => status)).toEqual(["two", "two", "two"]);
      const pids = new Set([...before, ...after].map(({ pid }) => pid));
      expect(pids.size).toBe(inThreads ? 1 : 6);
    }
    expect(policy.ends.map(({ isFailure }) => isFailure)).toEqual([false, false, false]);
    expect(container.statistics).toMatchObject({ spawns: 6, failures: 0 });
    await container.stop();
  });
});

describe.each(PROCESSES)("a rolling restart: $name", ({ options }) => {
  it("replaces one after the other, or a few at a time", async () => {
    const { container, policy } = contained(options);
    const app = await Changing.of("one");
    container.run(app.service, { count: 4, restart: "on-failure" });
    await container.waitUntilReady();
    const mostAway = () => {
      let away = 0;
      let most = 0;
      for (const { hook } of policy.told.splice(0)) {
        if (hook === "exited") most = Math.max(most, (away += 1));
        if (hook === "ready") away -= 1;
      }
      return most;
    };
    policy.told.length = 0;
    await container.restart();
    expect(mostAway()).toBe(1);
    // Long enough for both that are replaced at a time to be away together.
    app.write("one", `await new Promise((resolve) => setTimeout(resolve, 500)); ${STAY}`);
    await container.restart({ maxUnavailable: 2 });
    expect(mostAway()).toBe(2);
    await container.restart({ maxUnavailable: 100 });
    expect(container.instances.map(({ num, generation }) => [num, generation])).toEqual(
      [0, 1, 2, 3].map((num) => [num, 4]),
    );
    await container.stop();
  });

  it.each(["throw new Error('bad version')", "for (;;);"])(
    "leaves the others as they are when the new version fails: %s",
    async (run) => {
      const { container } = contained(options);
      const app = await Changing.of("one");
      container.run(app.service, {
        count: 3,
        name: "app",
        restart: "always",
        startupTimeout: 3000,
        backoff: { min: 5, max: 10 },
      });
      await container.waitUntilReady();
      const before = container.instances;
      app.write("two", run);
      const error = await rejection(container.restart());
      expect(error.message).toBe(
        "app num 0 did not become ready after its restart, and gets a child as before; the others are not restarted",
      );
      const others = (infos: readonly InstanceInfo[]) =>
        infos.filter(({ num }) => num > 0).map(({ pid, generation }) => [pid, generation]);
      expect(others(container.instances)).toEqual(others(before));
      // A fork server keeps the version that it has loaded; a spawned child loads what is there.
      if (options.startMethod === "spawn") return await container.stop(false);
      await soon(() => expect(container.instances[0]!.state).toBe("ready"));
      expect(container.instances[0]).toMatchObject({ status: "one", generation: 3 });
      expect(others(container.instances)).toEqual(others(before));
      app.write("three");
      await container.restart();
      expect(container.instances.map(({ status }) => status)).toEqual(["three", "three", "three"]);
      await container.stop();
    },
  );

  it("ends by a stop in its middle", async () => {
    const { container } = contained(options);
    const app = await Changing.of("one");
    container.run(app.service, { count: 3, restart: "always" });
    await container.waitUntilReady();
    app.write("two", "setInterval(() => {}, 1000); await new Promise(() => {});");
    const restarting = rejection(container.restart());
    await soon(() =>
      expect(container.instances[0]).toMatchObject({ generation: 2, state: "starting" }),
    );
    await container.stop(2000);
    const error = await restarting;
    expect(error).toBeInstanceOf(ClosedError);
    expect(error.message).toBe("The container was stopped while it was restarting");
    expect(container.size).toBe(0);
    await soon(() => expect(descendants()).toEqual([]));
  });
});

describe("a rolling restart", () => {
  it("changes nothing when the new modules cannot be loaded", async () => {
    const { container } = contained();
    const app = await Changing.of("one");
    container.run(app.service, { count: 2, restart: "always" });
    await container.waitUntilReady();
    const before = container.instances;
    writeFileSync(app.file, "export class {");
    const error = await rejection(container.restart());
    expect(error.name).toBe("WorkerModuleError");
    expect(error.message).toContain("SyntaxError");
    expect(container.instances.map(({ pid }) => pid)).toEqual(before.map(({ pid }) => pid));
    // An instance that ends now is started from what is loaded.
    process.kill(before[0]!.pid!, "SIGKILL");
    await soon(() =>
      expect(container.instances[0]).toMatchObject({
        generation: 2,
        state: "ready",
        status: "one",
      }),
    );
    await container.stop();
  });

  it("starts an instance at once that waits for its restart", async () => {
    const { container } = contained();
    const app = await Changing.of("one");
    app.write("bad", "throw new Error('bad version')");
    container.spawn(app.service, { restart: "always", backoff: { min: 60_000, max: 60_000 } });
    await soon(() => expect(container.instances[0]!.state).toBe("waiting"));
    app.write("two");
    await container.restart();
    expect(container.instances[0]).toMatchObject({ generation: 2, state: "ready", status: "two" });
    await container.stop();
  });

  it("of an instance that ends in its turn goes on with the others", async () => {
    const { container } = contained();
    const app = await Changing.of("one");
    container.run(app.service, { count: 3, restart: "on-failure", backoff: { min: 5, max: 5 } });
    await container.waitUntilReady();
    app.write("two");
    const restarting = container.restart();
    process.kill(container.instances[2]!.pid!, "SIGKILL");
    await restarting;
    await soon(() =>
      expect(container.instances.map(({ status }) => status)).toEqual(["two", "two", "two"]),
    );
    expect(container.instances.map(({ num }) => num)).toEqual([0, 1, 2]);
    await container.stop();
  });

  it("ends by a stop while the modules load", async () => {
    const { container } = contained();
    const app = await Changing.of("one");
    container.run(app.service, { count: 2, restart: "always" });
    await container.waitUntilReady();
    writeFileSync(app.file, "setInterval(() => {}, 1000); await new Promise(() => {});");
    const restarting = rejection(container.restart());
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(container.instances.map(({ state }) => state)).toEqual(["ready", "ready"]);
    await container.stop();
    const error = await restarting;
    expect(error).toBeInstanceOf(ClosedError);
    expect(error.message).toBe("The container was stopped while it was restarting");
    expect(descendants()).toEqual([]);
  });

  it("waits for one that is under way", async () => {
    const { container, policy } = contained();
    const app = await Changing.of("one");
    container.run(app.service, { count: 2, restart: "always" });
    await container.waitUntilReady();
    await Promise.all([container.restart(), container.restart(), container.restart()]);
    expect(
      container.instances.map(({ num, generation, state }) => [num, generation, state]),
    ).toEqual([
      [0, 4, "ready"],
      [1, 4, "ready"],
    ]);
    expect(policy.ends.map(({ isFailure }) => isFailure)).not.toContain(true);
    await container.stop();
    expect(descendants()).toEqual([]);
  });

  it("leaves alone what is started meanwhile", async () => {
    const { container, policy } = contained();
    const app = await Changing.of("one");
    container.run(app.service, { count: 2, restart: "always" });
    await container.waitUntilReady();
    const restarting = container.restart();
    await new Promise((resolve) => setImmediate(resolve));
    container.spawn(app.service);
    await restarting;
    await container.waitUntilReady();
    expect(container.instances.map(({ generation }) => generation)).toEqual([2, 2, 1]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(policy.ends).toHaveLength(2);
    await container.stop();
    expect(descendants()).toEqual([]);
  });

  it("of nothing ends", async () => {
    const { container } = contained();
    await container.restart();
    expect(container.isStopping).toBe(false);
  });
});
