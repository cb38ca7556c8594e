import { ItemError, ParallelError } from "forkmap";
import { describe, expect, it } from "vitest";
import { ThrowsHardError } from "./fixtures/hard-errors.mjs";
import { RejectsWithValue, ThrowsValue, VALUES } from "./fixtures/throws.mjs";
import { opened } from "./support/opened.js";
import { rejection } from "./support/rejection.js";

describe.each(["fork", "spawn"] as const)("an error of the worker by %s", (startMethod) => {
  const thrownBy = (name: string): Promise<any> =>
    rejection(opened(new ThrowsHardError(), { startMethod }).mapProcesses([name]));

  it("names item, slot, child and attempt", async () => {
    const error = await thrownBy("own");
    expect(error).toBeInstanceOf(ItemError);
    expect(error).toBeInstanceOf(ParallelError);
    expect(error).toMatchObject({
      name: "ItemError",
      code: "ERR_PARALLEL_ITEM",
      index: 0,
      num: 0,
      attempt: 1,
    });
    expect(error.pid).toBeGreaterThan(1);
    expect(error.duration).toBeGreaterThan(0);
    expect(error.message).toBe(`Item 0 failed: QuotaError: too much (num 0, pid ${error.pid})`);
    for (const cost of ["userCpu", "systemCpu", "peakMemory"])
      expect(error.usage[cost]).toBeGreaterThanOrEqual(0);
    expect(error.usage.peakMemory).toBeGreaterThan(1024 * 1024);
  });

  it("has the worker's own error as cause: name, message, stack, code, own properties", async () => {
    const { cause } = await thrownBy("own");
    expect(cause).toBeInstanceOf(Error);
    expect(cause).toMatchObject({ name: "QuotaError", message: "too much", code: "EQUOTA" });
    expect(cause.detail).toEqual({ left: 0, at: "1970-01-01T00:00:00.000Z" });
    expect(cause.stack).toContain("hard-errors.mjs");
  });

  it("has properties that are not enumerable, unless they are private or functions", async () => {
    const { cause } = await thrownBy("hidden");
    expect(cause.issues).toEqual([{ path: ["age"] }]);
    expect(Object.keys(cause)).toEqual([]);
    expect(Object.getOwnPropertyNames(cause).toSorted()).toEqual(["issues", "message", "stack"]);
  });

  it("has the same built-in class, and so have nested causes", async () => {
    const { cause } = await thrownBy("builtIn");
    expect(cause).toBeInstanceOf(TypeError);
    expect(cause.cause).toBeInstanceOf(RangeError);
    expect(cause.cause.message).toBe("deeper");
    expect(cause.cause.cause).toBe("deepest");
  });

  it("keeps the errors of an AggregateError", async () => {
    const { cause } = await thrownBy("aggregate");
    expect(cause).toBeInstanceOf(AggregateError);
    expect(cause.errors).toEqual([new Error("one"), "two"]);
  });

  it("keeps the name and code of a DOMException", async () => {
    const { cause } = await thrownBy("dom");
    expect(cause).toMatchObject({ name: "AbortError", message: "stop", code: 20 });
  });

  it("remains the worker's even if its code is EPIPE or ERR_IPC_CHANNEL_CLOSED", async () => {
    for (const [name, code] of [
      ["epipe", "EPIPE"],
      ["ipc", "ERR_IPC_CHANNEL_CLOSED"],
    ] as const) {
      const error = await thrownBy(name);
      expect(error).toMatchObject({ code: "ERR_PARALLEL_ITEM", cause: { code } });
      expect(error.cause).toBeInstanceOf(Error);
    }
  });

  it.each([
    ["functions", { message: "with functions", kept: 1 }],
    ["cycle", { message: "with a cycle" }],
    ["selfCause", { message: "its own cause", cause: { message: "its own cause" } }],
    ["getters", { message: "with getters", good: 2 }],
    ["badMessage", { name: "Error" }],
    ["toJson", { message: "with a hostile toJSON" }],
    ["cause", { message: "with a bad cause", cause: { left: 3, big: "4" } }],
  ])("that cannot be serialised completely arrives in part: %s", async (name, parts) => {
    const error = await thrownBy(name);
    expect(error.code).toBe("ERR_PARALLEL_ITEM");
    expect(error.cause).toBeInstanceOf(Error);
    expect(error.cause).toMatchObject(parts);
  });

  it.each([
    ["hostileObject", { b: 1 }],
    ["nullObject", { a: 1 }],
  ])("that is an object but not an Error arrives in part: %s", async (name, cause) => {
    expect(await thrownBy(name)).toMatchObject({ code: "ERR_PARALLEL_ITEM", cause });
  });

  it.each(["proxy", "function"])(
    "that reveals nothing about itself still fails the item as thrown: %s",
    async (name) => {
      expect(await thrownBy(name)).toMatchObject({ code: "ERR_PARALLEL_ITEM", index: 0 });
    },
  );

  it("keeps a long message complete", async () => {
    const { cause } = await thrownBy("long");
    expect(cause.message.length).toBe(100_000);
  });
});

describe.each(["fork", "spawn"] as const)("a thrown value by %s", (startMethod) => {
  it.each([
    ["thrown", ThrowsValue],
    ["rejected with", RejectsWithValue],
  ])("is the cause, %s", async (_, Worker) => {
    const settled = await opened(new Worker(), { startMethod }).mapSettled(Object.keys(VALUES));
    for (const [index, name] of Object.keys(VALUES).entries()) {
      const each = settled[index] as PromiseRejectedResult;
      expect(each, name).toMatchObject({
        status: "rejected",
        reason: { code: "ERR_PARALLEL_ITEM", index },
      });
      expect(Object.hasOwn(each.reason, "cause"), name).toBe(true);
      // Objects arrive as copies; -0 and NaN are distinguished from 0 and null.
      expect(each.reason.cause, name).toStrictEqual((VALUES as any)[name]);
    }
  });

  it("is a symbol with the same description if it was a symbol", async () => {
    const { cause } = await rejection(
      opened(new ThrowsValue(), { startMethod }).mapProcesses(["symbol"]),
    );
    expect(typeof cause).toBe("symbol");
    expect(cause.description).toBe("mark");
  });
});
