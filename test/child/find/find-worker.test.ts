/** The worker is created in another process: its class from its export, its fields as they are. */
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { Parallel, WorkerModuleError } from "forkmap";
import * as fields from "../../fixtures/fields.mjs";
import Named from "../../fixtures/default-named.mjs";
import { InCommonJs } from "../../fixtures/commonjs-worker.cjs";
import { Pid } from "../../fixtures/pid.mjs";

const {
  Plain,
  WithArguments,
  WithFunction,
  WithArgumentFunction,
  WithInstance,
  WithOwnInstance,
  WithOptions,
  WithRest,
  WithPrivateOption,
  WithCache,
  Point,
} = fields;

describe.each(["fork", "spawn"] as const)("for children made by %s", (startMethod) => {
  async function first(worker: unknown, options: object = {}): Promise<unknown> {
    const parallel = new Parallel(worker as never, { startMethod, ...options });
    try {
      const [result] = await parallel.mapProcesses([1] as never);
      return result;
    } finally {
      await parallel.close();
    }
  }

  test("a class exported by its module", async () => {
    expect(await first(new Pid())).toMatch(/^1:\d+$/);
  });

  test("a default export, with and without a name", async () => {
    expect(await first(new Named())).toBe("named 1");
    expect(await first(new fields.default())).toBe("default 1");
  });

  test("an export of a CommonJS module", async () => {
    expect(await first(new InCommonJs())).toBe("commonjs 1");
  });

  test("private fields and fields of the class", async () => {
    expect(await first(new Plain())).toEqual([1, "private", "of the class"]);
  });

  test("fields that were changed after construction", async () => {
    expect(await first(new Plain().set({ list: [1, null], map: "x" }))).toEqual([
      1,
      "private",
      { list: [1, null], map: "x" },
    ]);
  });

  test("a constructor with arguments", async () => {
    expect(await first(new WithArguments("a", { b: 2 }))).toEqual([1, "a", { b: 2 }]);
  });

  test("a function that the class assigns itself", async () => {
    expect(await first(new WithFunction())).toBe(2);
  });

  test("a function from outside is refused, naming the field", async () => {
    const worker = new WithArgumentFunction((n: number) => n + 1);
    await expect(first(worker)).rejects.toThrow(
      /field `change` of WithArgumentFunction cannot travel .*function/,
    );
    await expect(first(worker)).rejects.toBeInstanceOf(WorkerModuleError);
  });

  test("an instance of a class that the worker creates itself", async () => {
    expect(await first(new WithOwnInstance())).toBe(1);
  });

  test("an instance of a class from outside is refused, naming the field", async () => {
    await expect(first(new WithInstance(new Point()))).rejects.toThrow(
      /field `point` of WithInstance cannot travel .*Point/,
    );
  });

  test.each<[string, () => object, RegExp]>([
    [
      "an object whose prototype has no constructor",
      () => Object.create(Object.create(null) as object) as object,
      /it is an object, whose prototype would be lost/,
    ],
    [
      "a getter that throws",
      () => ({
        get held() {
          throw new Error("sealed");
        },
      }),
      /\(sealed\)/,
    ],
    [
      "a proxy that throws no Error",
      () =>
        new Proxy(
          {},
          {
            getPrototypeOf() {
              throw 3;
            },
          },
        ),
      /reading it threw 3 \(a number\)/,
    ],
  ])("what cannot be looked at is refused, naming the field: %s", async (_, make, reason) => {
    const error: unknown = await first(new WithInstance(make() as never)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(WorkerModuleError);
    expect((error as Error).message).toMatch(/^The field `point` of WithInstance cannot travel/);
    expect((error as Error).message).toMatch(reason);
  });

  test("constructor options that can be sent, and none", async () => {
    expect(await first(new WithOptions({ greeting: "Hello" }))).toBe("Hello 1");
    expect(await first(new WithRest({ greeting: "Hello" }))).toBe("Hello 1");
    expect(await first(new WithOptions())).toBe("Bye 1");
    expect(await first(new WithCache({ size: 3 }))).toBe(3);
  });

  const format = (text: string) => `${text}!`;
  test.each([
    ["options with a function", () => new WithOptions({ greeting: "Hello", format }), "options"],
    ["the same, by a rest parameter", () => new WithRest({ format }), "options"],
    [
      "a function put in the place of its own",
      () => Object.assign(new WithFunction(), { double: (n: number) => n * 3 }),
      "double",
    ],
  ])("a value that no argument makes is refused, naming the field: %s", async (_, make, field) => {
    await expect(first(make())).rejects.toThrow(
      new RegExp(
        `field \`${field}\` of \\w+ cannot travel .*function.*, and \`new \\w+\\(\\)\` creates a different value there`,
      ),
    );
  });

  test("a private field that an optional argument may set is refused", async () => {
    await expect(first(new WithPrivateOption("secret"))).rejects.toThrow(
      /WithPrivateOption has private fields and a constructor that takes arguments/,
    );
  });

  test("the option `module`, as a URL, its text and a path", async () => {
    const module = new URL("../../fixtures/pid.mjs", import.meta.url);
    expect(await first(new Pid(), { module })).toMatch(/^1:/);
    expect(await first(new Pid(), { module: module.href })).toMatch(/^1:/);
    expect(await first(new Pid(), { module: fileURLToPath(module) })).toMatch(/^1:/);
  });

  test("a module that does not export the class", async () => {
    const module = new URL("../../fixtures/imported-late.mjs", import.meta.url);
    const failure = first(new Pid(), { module });
    await expect(failure).rejects.toThrow(/class Pid is not exported by .*imported-late\.mjs/);
    await expect(failure).rejects.toMatchObject({ name: "WorkerModuleError", module: module.href });
  });
});
