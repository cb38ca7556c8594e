import { WorkerModuleError } from "forkmap";
import { InstanceError, Policy } from "forkmap/container";
import { writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { Preloads } from "../fixtures/services/preloads.mjs";
import { contained, notesIn, PLACES } from "../support/contained.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";
import { warned } from "../support/warned.js";

const throwing = new URL("../fixtures/services/throws-while-loading.mjs", import.meta.url);
const MIB = 2 ** 20;

describe.each(PLACES)("a module that cannot be loaded: $name", ({ options, run, name: place }) => {
  const warnings = warned();

  it.each(["throws", "syntax", "missing", "class"])(
    "is given up at once, with its error: %s",
    async (how) => {
      const { container } = contained({ ...options, policy: new Policy() });
      const file = `${temporaryDirectory()}/service.mjs`;
      if (how === "syntax") writeFileSync(file, "export class {");
      if (how === "class") writeFileSync(file, "export class Other { run() {} }");
      const module = how === "throws" ? throwing : file;
      container.run(new Performs(["ready"]), { ...run, count: 2, restart: "always", module });
      const error = await rejection(container.waitUntilReady());
      expect(error).toBeInstanceOf(InstanceError);
      expect(error.message).toMatch(
        /^Performs num [01] is given up: it ended before it was ready \(/,
      );
      expect(container.statistics.restarts).toBe(0);
      if (place === "threads in processes") return;
      expect(error.cause).toBeInstanceOf(WorkerModuleError);
      if (how === "throws") expect(error.cause.cause).toMatchObject({ message: "from the module" });
      if (how === "syntax") expect(error.cause.cause.name).toBe("SyntaxError");
      for (const { message } of warnings)
        expect(message).toMatch(
          /^Performs num [01]( \(pid \d+\))? ended: .+\. It is given up: no other child could be started either$/s,
        );
    },
  );
});

describe("preload", () => {
  it("runs once for all forked instances, which share its memory", async () => {
    const file = `${temporaryDirectory()}/notes`;
    const { container } = contained();
    container.run(new Preloads(file, 64 * MIB), { count: 3 });
    await container.waitUntilReady();
    const [first, ...runs] = notesIn(file);
    expect(first.hook).toBe("preload");
    expect(runs.map(({ hook, loadedBy, sum }) => [hook, loadedBy, sum])).toEqual(
      Array.from({ length: 3 }, () => ["run", first.pid, 1]),
    );
    expect(new Set(runs.map(({ pid }) => pid)).size).toBe(3);
    for (const { ownBytes } of runs) expect(ownBytes).toBeLessThan(32 * MIB);
    // Also for an instance that is started later.
    process.kill(container.instances[0]!.pid!, "SIGKILL");
    container.spawn(new Performs(["ready", "stay"]));
    await container.stop();
    expect(notesIn(file).filter(({ hook }) => hook === "preload")).toHaveLength(1);
  });

  it.each(PLACES.slice(1, 3))("runs in each instance of its own: $name", async ({ options }) => {
    const file = `${temporaryDirectory()}/notes`;
    const { container } = contained(options);
    container.run(new Preloads(file, 1000), { count: 2 });
    await container.waitUntilReady();
    const notes = notesIn(file);
    expect(notes.filter(({ hook }) => hook === "preload")).toHaveLength(2);
    for (const { hook, pid, loadedBy } of notes) if (hook === "run") expect(loadedBy).toBe(pid);
    await container.stop();
  });
});

describe("limits", () => {
  it("hold for each forked instance", async () => {
    const { container, policy } = contained();
    const limits = { memory: 200 * MIB };
    container.spawn(new Performs(["allocate 50", "ready", "stay"]), { limits });
    container.spawn(new Performs(["allocate 400", "ready", "stay"]), { limits });
    const error = await rejection(container.waitUntilReady());
    expect(error).toMatchObject({ num: 1 });
    expect(policy.ends).toEqual([expect.objectContaining({ isFailure: true, wasReady: false })]);
    expect(container.instances.map(({ num }) => num)).toEqual([0]);
    await container.stop();
  });
});
