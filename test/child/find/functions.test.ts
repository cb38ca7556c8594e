/** A function in place of a worker is found in every way in which a class is, and refused where it would be another one. */
import { spawn } from "node:child_process";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { Parallel, WorkerModuleError, type WorkerFunction } from "forkmap";
import * as added from "../../fixtures/functions/adds-exports.cjs";
import * as closing from "../../fixtures/functions/closes-over.mjs";
import defaultArrow from "../../fixtures/functions/default-arrow.mjs";
import named from "../../fixtures/functions/default-named.mjs";
import * as exports from "../../fixtures/functions/exports.mjs";
import { held } from "../../fixtures/functions/in-exports.cjs";
import unnamed from "../../fixtures/functions/is-exports-unnamed.cjs";
import itself from "../../fixtures/functions/is-exports.cjs";
import { give } from "../../fixtures/functions/not-exported.mjs";
import * as properties from "../../fixtures/functions/properties.mjs";
import { elsewhere } from "../../fixtures/functions/reexports.mjs";
import { rejection } from "../../support/rejection.js";
import { fixture, outputOf, type Ran, runScript } from "../../support/run-script.js";

const STRIPS_TYPES = Boolean((process.features as { typescript?: unknown }).typescript);
/** Some versions of Node print a warning when they strip types. */
const QUIET = { NODE_NO_WARNINGS: "1" };

type Given = WorkerFunction<unknown, unknown>;

describe.each(["fork", "spawn", "thread"] as const)("a function, by %s", (start) => {
  async function first(given: unknown, options: object = {}): Promise<unknown> {
    const processes = start === "thread" ? {} : { startMethod: start };
    const parallel = new Parallel(given as Given, { ...processes, ...options });
    try {
      const verb = start === "thread" ? "mapThreads" : "mapProcesses";
      return (await parallel[verb]([1]))[0];
    } finally {
      await parallel.close();
    }
  }

  test("that uses what is at the top level of its module", async () => {
    expect(await first(exports.usesModule)).toBe("of the module 1");
  });

  test.each<[string, unknown]>([
    ["declared", exports.declared],
    ["asynchronous", exports.asynchronous],
    ["arrow", exports.arrow],
    ["asynchronousArrow", exports.asynchronousArrow],
    ["expression", exports.expression],
    ["ownName", exports.nicknamed],
    ["inside", exports.outside],
    ["inside", elsewhere],
    ["method", exports.tools.method],
    ["member", exports.tools.member],
    ["left", exports.left.same],
    ["right", exports.right.same],
    ["default", exports.default],
    ["default arrow", defaultArrow],
    ["named", named],
  ])("that a module exports: %s", async (name, given) => {
    expect(await first(given)).toEqual([name, 1]);
  });

  test.each<[string, unknown]>([
    ["itself", itself],
    ["unnamed", unnamed],
    ["held", held],
    ["added", added.added],
    ["first", added.first],
    ["second", added.second],
  ])("that a CommonJS module exports: %s", async (name, given) => {
    expect(await first(given)).toEqual([name, 1]);
  });

  test("brings its own properties along, as they are when the call begins", async () => {
    const { limited } = properties;
    expect(await first(limited)).toEqual({ item: 1, limit: 3, added: null });
    try {
      Object.assign(limited, { limit: 5, added: { since: [new Date(0)] } });
      expect(await first(limited)).toEqual({
        item: 1,
        limit: 5,
        added: { since: ["1970-01-01T00:00:00.000Z"] },
      });
    } finally {
      limited.limit = 3;
      Reflect.deleteProperty(limited, "added");
    }
  });

  test("has the functions among its properties that its module sets", async () => {
    expect(await first(properties.formatted)).toBe("1!");
  });

  test("is refused with a property that cannot travel, by its name", async () => {
    const { limited } = properties;
    const bare = Object.assign(properties.bare, { change: (n: number) => n + 1 });
    const missing = await rejection(first(bare));
    expect(missing).toBeInstanceOf(WorkerModuleError);
    expect(missing.message).toBe(
      "The property `change` of bare cannot travel to another process (it is a function): set it where the function is defined",
    );
    const { format } = limited;
    try {
      limited.format = (text: string) => `${text}?`;
      await expect(first(limited)).rejects.toThrow(
        "The property `format` of limited cannot travel to another process (it is a function), and its module sets a different value: set it where the function is defined",
      );
    } finally {
      limited.format = format;
    }
  });

  test("by the option `module`, which needs only its name", async () => {
    const declared = (item: unknown) => ["not this one", item];
    const module = fixture("functions/exports.mjs");
    expect(await first(declared, { module })).toEqual(["declared", 1]);
    const missing = await rejection(first(declared, { module: fixture("upper.mjs") }));
    expect(missing).toMatchObject({
      name: "WorkerModuleError",
      module: pathToFileURL(fixture("upper.mjs")).href,
    });
    expect(missing.message).toMatch(/^The function declared is not exported by .*upper\.mjs/);
    expect(missing.message).toContain("Define the function at the top level of a module");
  });

  test("is refused if its module does not export it", async () => {
    await expect(first(give())).rejects.toThrow(
      /^The function hidden is not exported by .*not-exported\.mjs, and loading that file does not reach `new Parallel`/,
    );
  });

  test("is refused if it uses variables of a function that made it in another module", async () => {
    const error = await rejection(first(closing.multiply(3)));
    expect(error).toBeInstanceOf(WorkerModuleError);
    expect(error.message).toMatch(
      /^multiplied is defined inside multiply\(\) and uses its variables, which no other process has\. Define it at the top level/,
    );
  });

  test("is refused if another has the same text, and variables that cannot be compared", async () => {
    const pair = [3, 4].map((k) => closing.apply((n: number) => n * k));
    for (const each of pair) {
      await expect(first(each)).rejects.toThrow(
        /^applied is defined inside apply\(\) and uses its variables, and there is more than one such function/,
      );
    }
  });
});

async function linesOf(start: string, name: string, args: string[] = []): Promise<string[]> {
  const env = { FORKMAP_TEST_START: start };
  return lines(await runScript(fixture(`functions/${name}`), { env, args }));
}

function lines({ stdout, stderr, code }: Ran): string[] {
  expect(code, stderr).toBe(0);
  return stdout.trimEnd().split("\n");
}

describe.concurrent.each(["fork", "spawn"])("in the program's file, by %s", (start) => {
  const run = (name: string, ...args: string[]) => linesOf(start, name, args);
  /** Output before `new Parallel` is printed again by each process that runs the file up to that line. */
  const tops = Array.from({ length: start === "fork" ? 2 : 3 }, () => "top");

  test.each([
    ["unexported.mjs", "made"],
    ["unexported.cjs", "made"],
    ["inline.mjs", "made"],
    ["exported.mjs", "made"],
    ["exported.cjs", "made"],
    ["guarded-by-argv.mjs", "guarded"],
    ["guarded-by-meta.mjs", "guarded"],
    ["guarded-default.mjs", "guarded"],
    ["guarded.cjs", "guarded"],
  ])("%s", async (name, mark) => {
    const printed = await run(name);
    expect(printed.filter((line) => line !== "top")).toEqual([mark, "[2,4]"]);
    expect(printed.filter((line) => line === "top")).toEqual(tops);
  });

  test("inside main(), with its variables", async () => {
    expect(await run("in-main.mjs")).toEqual(["made", "[3,6]", "finally"]);
  });

  test("two without names, made before the first call", async () => {
    const printed = await run("side-by-side.mjs");
    expect(printed.toSorted()).toEqual(["[2,4]", "[3,6]"]);
  });

  test.each(["three-in-a-row.mjs", "three-in-a-row.cjs", "three-in-main.mjs"])(
    "several, each after the calls of those before: %s",
    async (name) => {
      expect(await run(name)).toEqual(["[2,4]", "[3,6]", '["one","unknown"]', "[6]"]);
    },
  );

  test("after a call of a class, and before one", async () => {
    expect(await run("after-class.mjs")).toEqual(["[2,4]", "[3,6]", "[5,6]"]);
  });

  test.each([
    ["changes.mjs", "variable", "`factor` is 3 in the program but 1 when its file is run again"],
    ["changes.mjs", "member", '`settings` is {"factor":3} in the program but {"factor":1} when'],
    ["changes.mjs", "set later", "in the program but undefined when its file is run again"],
    ["changes-in-main.mjs", "", "in the program but undefined when its file is run again"],
    ["changes.mjs", "declared later", '`results` is ["0":1] in the program but undefined when'],
    ["changes.mjs", "nameless", "define each worker of the file by a name of its own"],
  ])("is refused after another call if it cannot be what it was: %s %s", async (name, way, why) => {
    const [first, second] = await run(name, way);
    expect(first).toBe("[1]");
    const error = JSON.parse(second!) as string;
    expect(error).toMatch(
      /^WorkerModuleError: .*(is used after the call of another|\.mjs never finished)/,
    );
    expect(error).toContain(why);
  });

  test("is used after another call if what has changed is nothing that it uses", async () => {
    expect(await run("changes.mjs", "not used")).toEqual(["[1]", "[6]"]);
  });

  test("is told from another that the same function makes", async () => {
    expect(await run("made-by-function.mjs", "two")).toEqual(["[5,6]", "[4,5]"]);
  });
});

test("a function is refused if the program makes it again with other variables", async () => {
  for (const start of ["fork", "spawn"]) {
    const [printed] = await linesOf(start, "made-by-function.mjs", ["another"]);
    expect(JSON.parse(printed!)).toMatch(
      /^WorkerModuleError: added is defined inside add\(\) and uses its variables \(`k` is \d+ in the program but \d+ when/,
    );
  }
});

describe.concurrent("in the program's file, in threads", () => {
  test.each(["unexported.mjs", "unexported.cjs"])("%s", async (name) => {
    const printed = await linesOf("thread", name);
    expect(printed.filter((line) => line !== "top")).toEqual(["made", "[2,4]"]);
  });

  test.each(["three-in-a-row.mjs", "three-in-a-row.cjs"])(
    "several, each after the calls of those before: %s",
    async (name) => {
      const printed = await linesOf("thread", name);
      expect(printed).toEqual(["[2,4]", "[3,6]", '["one","unknown"]', "[6]"]);
    },
  );

  test("is refused after another call if it cannot be what it was", async () => {
    const [, error] = await linesOf("thread", "changes.mjs", ["variable"]);
    expect(error).toContain("`factor` is 3 in the program but 1 when its file is run again");
  });
});

describe("functions in a program in TypeScript", () => {
  const file = fixture("functions/typescript.ts");

  test("run by tsx", async () => {
    const execArgv = ["--import", import.meta.resolve("tsx")];
    expect(lines(await runScript(file, { execArgv }))).toEqual(["A0,B1", "2,2"]);
  });

  test.runIf(STRIPS_TYPES)("run by Node's own type stripping", async () => {
    expect(lines(await runScript(file, { env: QUIET }))).toEqual(["A0,B1", "2,2"]);
  });
});

test.each(["mapProcesses", "mapThreads"])(
  "a function in a program given by -e is refused, %s",
  async (verb) => {
    const program = `import { Parallel } from "forkmap";
      const parallel = new Parallel((n) => n);
      console.log(await parallel.${verb}([1]).catch((error) => error.name + ": " + error.message));`;
    const flags = ["--input-type=module", "-e", program];
    const cwd = fixture("");
    const { stdout } = await outputOf(
      spawn(process.execPath, flags, { cwd, stdio: ["ignore", "pipe", "pipe"] }),
    );
    expect(stdout).toMatch(
      /^WorkerModuleError: The worker's function is defined in .*\[eval1\], which no other process can load: put it in a file and export it\n$/,
    );
  },
);
