import { describe, expect, it } from "vitest";
import { Nums } from "../../src/container/nums.js";
import { Performs } from "../fixtures/services/performs.mjs";
import { contained, soon } from "../support/contained.js";
import { temporaryDirectory } from "../support/temporary.js";
import { writeFileSync } from "node:fs";

describe("nums", () => {
  it("are the lowest free ones, and giving one back twice is harmless", () => {
    const nums = new Nums();
    expect([nums.take(), nums.take(), nums.take()]).toEqual([0, 1, 2]);
    nums.give(1);
    nums.give(1);
    nums.give(0);
    expect([nums.take(), nums.take(), nums.take()]).toEqual([0, 1, 3]);
    nums.give(7);
    expect(nums.take()).toBe(4);
  });

  it("go to instances in the order of their start, over all services", async () => {
    const { container } = contained();
    const stay = ["ready", "stay"];
    container.run(new Performs(stay), { count: 2, name: "a" });
    container.spawn(new Performs(stay), { name: "b" });
    container.run(new Performs(stay), { count: 2, name: "c" });
    await container.waitUntilReady();
    const names = container.instances.map(({ num, name }) => `${num} ${name}`);
    expect(names).toEqual(["0 a", "1 a", "2 b", "3 c", "4 c"]);
    expect(new Set(container.instances.map(({ pid }) => pid)).size).toBe(5);
    await container.stop();
  });

  it("are given back on the final end, and the lowest is used again", async () => {
    const cue = `${temporaryDirectory()}/cue`;
    const { container } = contained();
    const stay = new Performs(["ready", "stay"]);
    container.spawn(stay);
    container.spawn(new Performs(["ready", `until ${cue}`]), { name: "short" });
    container.spawn(stay);
    container.spawn(new Performs(["ready", `until ${cue}`]), { name: "short" });
    await container.waitUntilReady();
    writeFileSync(cue, "");
    await soon(() => expect(container.instances.map(({ num }) => num)).toEqual([0, 2]));
    container.run(stay, { count: 3 });
    expect(container.instances.map(({ num }) => num)).toEqual([0, 1, 2, 3, 4]);
    await container.waitUntilReady();
    await container.stop();
  });

  it("are not taken by a key that lives already", async () => {
    const { container } = contained();
    const stay = new Performs(["ready", "stay"]);
    expect(container.spawn(stay, { key: "clock" })).toBe(true);
    expect(container.has("clock")).toBe(true);
    expect(container.has("other")).toBe(false);
    expect(container.spawn(new Performs(["ready", "stay"]), { key: "clock" })).toBe(false);
    expect(container.size).toBe(1);
    expect(container.spawn(stay, { key: "other" })).toBe(true);
    await container.waitUntilReady();
    expect(container.instances.map(({ num, key }) => [num, key])).toEqual([
      [0, "clock"],
      [1, "other"],
    ]);
    const [{ pid }] = container.instances;
    expect(container.spawn(stay, { key: "clock" })).toBe(false);
    expect(container.instances[0]).toMatchObject({ pid, generation: 1 });
    expect(container.statistics.spawns).toBe(2);
    await container.stop();
    expect(container.has("clock")).toBe(false);
  });

  it("stay taken while the instance waits for its restart", async () => {
    const { container } = contained();
    const backoff = { min: 60_000, max: 60_000 };
    container.spawn(new Performs(["throw soon"]), { restart: "always", backoff });
    await soon(() => expect(container.instances[0]!.state).toBe("waiting"));
    expect(container.instances[0]).toMatchObject({ num: 0, pid: undefined, age: 0, restarts: 0 });
    container.spawn(new Performs(["ready", "stay"]));
    await soon(() => expect(container.instances[1]).toMatchObject({ num: 1, state: "ready" }));
    await container.stop();
    expect(container.size).toBe(0);
  });
});
