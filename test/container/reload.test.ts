import { describe, expect, it } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { contained, PROCESSES, soon, THREADS } from "../support/contained.js";
import { rejection } from "../support/rejection.js";

describe.each([...PROCESSES, THREADS])("reload by key: $name", ({ options }) => {
  it("starts new keys, keeps unchanged ones with their pid, and stops removed ones", async () => {
    const { container } = contained(options);
    const service = new Performs(["ready", "stay"]);
    const define = (...keys: string[]) =>
      container.reload((each) => {
        for (const key of keys) each.spawn(service, { key, name: key });
      });
    const state = () => container.instances.map(({ num, key }) => `${num} ${key}`);
    expect(await define("a", "b", "c")).toBe(true);
    await container.waitUntilReady();
    expect(state()).toEqual(["0 a", "1 b", "2 c"]);
    const before = container.instances;

    expect(await define("c", "b", "a")).toBe(false);
    expect(container.instances.map(({ pid, generation }) => [pid, generation])).toEqual(
      before.map(({ pid, generation }) => [pid, generation]),
    );

    expect(await define("a", "c", "d")).toBe(true);
    await container.waitUntilReady();
    // The new one was started before the removed one had ended.
    expect(state()).toEqual(["0 a", "2 c", "3 d"]);
    const pids = new Map(container.instances.map(({ key, pid }) => [key, pid]));
    expect([pids.get("a"), pids.get("c")]).toEqual([before[0]!.pid, before[2]!.pid]);

    expect(await define("a", "c", "d", "e")).toBe(true);
    expect(state()).toEqual(["0 a", "1 e", "2 c", "3 d"]);
    await container.waitUntilReady();
    expect(await define()).toBe(true);
    expect(container.size).toBe(0);
    expect(container.isStopping).toBe(false);
    expect(await define()).toBe(false);
  });

  it("leaves instances without a key as they are", async () => {
    const { container } = contained(options);
    const service = new Performs(["ready", "stay"]);
    container.run(service, { count: 2 });
    await container.reload(async (each) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      each.spawn(service, { key: "a" });
    });
    expect(await container.reload(() => {})).toBe(true);
    expect(container.instances.map(({ num }) => num)).toEqual([0, 1]);
    await container.waitUntilReady();
    await container.stop();
  });
});

describe("reload", () => {
  const service = new Performs(["ready", "stay"]);

  it("stops nothing when its function fails", async () => {
    const { container } = contained();
    container.spawn(service, { key: "a" });
    const error = new Error("no config");
    expect(
      await rejection(
        container.reload(() => {
          throw error;
        }),
      ),
    ).toBe(error);
    await container.waitUntilReady();
    expect(container.has("a")).toBe(true);
    expect(await container.reload((each) => void each.spawn(service, { key: "a" }))).toBe(false);
    await container.stop();
  });

  it("does one after the other", async () => {
    const { container } = contained();
    const order: string[] = [];
    const first = container.reload(async (each) => {
      order.push("first");
      await new Promise((resolve) => setTimeout(resolve, 100));
      each.spawn(service, { key: "a" });
      order.push("first done");
    });
    const second = container.reload((each) => {
      order.push("second");
      each.spawn(service, { key: "b" });
    });
    expect(await Promise.all([first, second])).toEqual([true, true]);
    expect(order).toEqual(["first", "first done", "second"]);
    expect(container.instances.map(({ key }) => key)).toEqual(["b"]);
    await container.stop();
  });

  it("starts a key anew that is being stopped", async () => {
    const { container } = contained();
    const slow = new Performs(["ready", "stay", "sleep 200"]);
    container.spawn(slow, { key: "a" });
    await container.waitUntilReady();
    const gone = container.reload(() => {});
    await soon(() => expect(container.instances[0]!.state).toBe("stopping"));
    expect(container.has("a")).toBe(false);
    expect(container.spawn(slow, { key: "a" })).toBe(true);
    expect(await gone).toBe(true);
    expect(container.instances.map(({ num, key }) => [num, key])).toEqual([[1, "a"]]);
    await container.stop();
  });
});

it("a reload inside of another is an error, and not a wait without end", async () => {
  const { container } = contained();
  const outer = container.reload(async (each) => {
    await each.reload(() => {});
  });
  expect((await rejection(outer)).message).toContain("in the `define` of another");
  expect(await container.reload(() => {})).toBe(false);
});
