import path from "node:path";
import { LaunchError, Parallel, ParallelWorker } from "forkmap";
import { describe, expect, it } from "vitest";
import { Echo } from "./fixtures/echo.mjs";
import { Pid } from "./fixtures/pid.mjs";
import { Surroundings } from "./fixtures/surroundings.mjs";
import { children } from "./support/leftovers.js";
import { opened } from "./support/opened.js";
import { rejection } from "./support/rejection.js";

// @ts-expect-error -- what JavaScript allows
class Idle extends ParallelWorker {}
import { temporaryDirectory } from "./support/temporary.js";

const WRONG_OF_CALLS: [name: string, value: unknown, expected: string, got: string][] = [
  ["concurrency", 0, "a whole number from 1 to 1024", "0 (a number)"],
  ["concurrency", 1.5, "a whole number from 1 to 1024", "1.5 (a number)"],
  ["concurrency", "4", "a whole number from 1 to 1024", '"4" (a string)'],
  ["concurrency", Infinity, "a whole number from 1 to 1024", "Infinity (a number)"],
  ["timeout", 0, "a number of ms from 1", "0 (a number)"],
  ["timeout", NaN, "a number of ms from 1", "NaN (a number)"],
  ["timeout", 2 ** 31, "a number of ms from 1 to 2147483647", "2147483648 (a number)"],
  ["timeout", null, "a number of ms", "null"],
  ["limits", 5, "an object", "5 (a number)"],
  ["limits", { memory: -1 }, "a whole number from 1", "-1 (a number)"],
  ["limits", { cpuSeconds: 0.5 }, "a whole number from 1", "0.5 (a number)"],
  ["limits", { openFiles: "many" }, "a whole number from 1", '"many" (a string)'],
  ["retries", -1, "a whole number from 0", "-1 (a number)"],
  ["retries", true, "a whole number from 0", "true (a boolean)"],
  ["retryDelay", 1000, "an object", "1000 (a number)"],
  ["retryDelay", { min: -1 }, "a number of ms from 0", "-1 (a number)"],
  ["retryDelay", { factor: 0.5 }, "a number of at least 1", "0.5 (a number)"],
  ["stopOnError", "yes", "a boolean", '"yes" (a string)'],
  ["signal", new AbortController(), "an AbortSignal", "an instance of AbortController"],
  ["killSignal", "SIGNONE", 'the name of a signal such as "SIGTERM"', '"SIGNONE" (a string)'],
  ["killSignal", 15, "the name of a signal", "15 (a number)"],
  ["forceKillAfterDelay", -1, "a number of ms from 0", "-1 (a number)"],
  ["onStart", "f", "a function", '"f" (a string)'],
  ["onFinish", {}, "a function", "an object"],
  ["finishInOrder", 1, "a boolean", "1 (a number)"],
  ["scratchRoot", "", "a path that is not empty", '"" (a string)'],
];

const WRONG_OF_CONSTRUCTOR: typeof WRONG_OF_CALLS = [
  ["startMethod", "thread", '"fork" or "spawn"', '"thread" (a string)'],
  ["module", 5, "a URL or a path", "5 (a number)"],
  ["execArgv", "--flag", "an array of strings", '"--flag" (a string)'],
  ["execArgv", [1], "an array of strings", "an array"],
  ["env", "A=b", "an object of strings", '"A=b" (a string)'],
  ["env", null, "an object of strings", "null"],
  ["env", { A: 5 }, "an object of strings", "an object"],
  ["cwd", 5, "a path", "5 (a number)"],
  ["startupTimeout", 0, "a number of ms from 1", "0 (a number)"],
];

/** The message that names an option, the expected value and the actual value. */
function wrong([name, value, expected, got]: (typeof WRONG_OF_CALLS)[number]): RegExp {
  const inner =
    typeof value === "object" && /^(limits|retryDelay)$/.test(name)
      ? `.${Object.keys(value!)[0]}`
      : "";
  return new RegExp(
    `^${literally(`Expected \`${name}${inner}\` to be ${expected}`)}.*${literally(`, got ${got}`)}$`,
  );
}

function literally(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

describe("a wrong value", () => {
  it.each([...WRONG_OF_CALLS, ...WRONG_OF_CONSTRUCTOR])(
    "of the constructor is a TypeError that names it: %s %j",
    (...row) => {
      const make = () => new Parallel(new Echo(), { [row[0]]: row[1] });
      expect(make).toThrow(TypeError);
      expect(make).toThrow(wrong(row));
    },
  );

  it.each(WRONG_OF_CALLS)("of a call is a TypeError that names it: %s %j", async (...row) => {
    for (const verb of ["mapProcesses", "eachProcess", "mapSettled"] as const) {
      const error = await rejection(opened(new Echo())[verb](["a"], { [row[0]]: row[1] }));
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(wrong(row));
    }
    expect(children()).toEqual([]);
  });
});

describe("an unknown option", () => {
  it("is a TypeError that names it and lists the valid ones", () => {
    expect(() => new Parallel(new Echo(), { concurency: 2 } as never)).toThrow(TypeError);
    expect(() => new Parallel(new Echo(), { concurency: 2 } as never)).toThrow(
      /`concurency`.*There are: concurrency, /,
    );
    expect(() => new Parallel(new Echo(), { toString: 1 } as never)).toThrow(
      "Unknown option `toString`",
    );
  });

  it("of a call is a TypeError, too", async () => {
    const error = await rejection(opened(new Echo()).mapProcesses(["a"], { retry: 2 } as never));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain("Unknown option `retry` of a call");
  });

  it("within an option is a TypeError, too", () => {
    expect(() => new Parallel(new Echo(), { limits: { ram: 1 } } as never)).toThrow(
      "Unknown option `limits.ram`",
    );
    expect(() => new Parallel(new Echo(), { retryDelay: { max: 1, jitter: 1 } } as never)).toThrow(
      "`retryDelay.jitter`",
    );
  });

  it("of the constructor is refused in a call, and the error says so", async () => {
    const error = await rejection(
      opened(new Echo()).mapProcesses(["a"], { startMethod: "fork" } as never),
    );
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain("new Parallel(worker, { startMethod })");
  });
});

describe("options", () => {
  it.each([[null], [[]], [5], ["fork"], [() => {}]])(
    "that are not an object are a TypeError: %s",
    async (options) => {
      expect(() => new Parallel(new Echo(), options as never)).toThrow(TypeError);
      for (const verb of ["mapProcesses", "eachProcess", "mapSettled"] as const) {
        expect(
          await rejection(opened(new Echo())[verb](["a"], options as never)),
          verb,
        ).toBeInstanceOf(TypeError);
      }
    },
  );

  it("may be frozen and are never changed", async () => {
    const options = deepFreeze({
      concurrency: 2,
      retries: 1,
      retryDelay: { min: 1 },
      limits: { openFiles: 500 },
      env: { ...process.env },
    });
    const own = deepFreeze({ concurrency: 1, stopOnError: false, onStart: () => {} });
    const parallel = opened(new Echo(), options);
    expect(await parallel.mapProcesses(Object.freeze(["a", "b"]), own)).toEqual(["a", "b"]);
    expect(await parallel.mapSettled(Object.freeze(["a"]), own)).toHaveLength(1);
  });

  it("that are undefined are treated as absent", async () => {
    const none = {
      concurrency: undefined,
      timeout: undefined,
      limits: undefined,
      retryDelay: { min: undefined },
      module: undefined,
    };
    const parallel = opened(new Echo(), none as never);
    expect(
      await parallel.mapProcesses(["a"], { signal: undefined, onStart: undefined } as never),
    ).toEqual(["a"]);
  });

  it("of a call override those of the constructor, unless undefined", async () => {
    const seen: string[] = [];
    const parallel = opened(new Echo(), { onStart: () => seen.push("constructor") });
    await parallel.mapProcesses(["a"]);
    await parallel.mapProcesses(["a"], { onStart: () => seen.push("call") });
    await parallel.mapProcesses(["a"], { onStart: undefined } as never);
    expect(seen).toEqual(["constructor", "call", "constructor"]);
  });

  it("changed after construction have no effect", async () => {
    const options = { startMethod: "spawn" as "fork" | "spawn" };
    const parallel = opened(new Pid(), options);
    options.startMethod = "fork";
    await parallel.mapProcesses(["a"]);
    expect(parallel.stats().startMethod).toBe("spawn");
  });

  it("create forked children by default", async () => {
    const parallel = opened(new Pid());
    await parallel.mapProcesses(["a"]);
    expect(parallel.stats()).toMatchObject({ startMethod: "fork", reason: undefined });
  });
});

describe.each(["fork", "spawn"] as const)("children by %s", (startMethod) => {
  it("inherit the environment, directory and options of Node", async () => {
    const [found] = await opened(new Surroundings(), { startMethod }).mapProcesses(["HOME"]);
    expect(found.cwd).toBe(process.cwd());
    expect(found.variable).toBe(process.env["HOME"] ?? null);
    expect(found.execArgv).toEqual(process.execArgv);
    expect(found.argv).toEqual(process.argv);
  });

  it("get the configured ones instead", async () => {
    const cwd = temporaryDirectory();
    const env = { FORKMAP_GIVEN: "yes" };
    const parallel = opened(new Surroundings(), {
      startMethod,
      cwd,
      env,
      execArgv: ["--expose-gc"],
    });
    const [found] = await parallel.mapProcesses(["FORKMAP_GIVEN"]);
    expect(found).toMatchObject({
      cwd,
      variable: "yes",
      path: null,
      execArgv: ["--expose-gc"],
      isTraced: true,
    });
  });

  it("with a working directory that does not exist are a LaunchError that names it", async () => {
    const cwd = path.join(temporaryDirectory(), "missing");
    const error = await rejection(opened(new Echo(), { startMethod, cwd }).mapProcesses(["a"]));
    expect(error).toBeInstanceOf(LaunchError);
    expect(error.message).toContain(`the \`cwd\` ${cwd} does not exist`);
  });
});

describe("a worker", () => {
  it.each([
    [Echo, /got the class itself: write new Parallel\(new Echo\(\)\)/],
    [{ process: () => "a" }, /got an object literal/],
    [new Idle(), /Expected Idle to have a method process/],
    [null, /got null/],
    ["worker", /got "worker"/],
    [new Date(), /got an instance of Date/],
    [undefined, /got undefined/],
  ])("must be an instance of a class with process(item): %s", (worker, message) => {
    const make = () => new Parallel(worker as unknown as ParallelWorker);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(message);
  });
});

function deepFreeze<T extends object>(value: T): T {
  for (const each of Object.values(value)) if (typeof each === "object") deepFreeze(each);
  return Object.freeze(value);
}
