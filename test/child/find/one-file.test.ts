/** The worker's class is in the program's own file: a child runs the file again, but only up to the class. */
import { describe, expect, test } from "vitest";
import { fixture, type Ran, runScript } from "../../support/run-script.js";

const STRIPS_TYPES = Boolean((process.features as { typescript?: unknown }).typescript);
/** Some versions of Node print a warning when they strip types. */
const QUIET = { NODE_NO_WARNINGS: "1" };

function lines({ stdout, stderr, code }: Ran): string[] {
  expect(code, stderr).toBe(0);
  return stdout.trimEnd().split("\n");
}

describe.each(["fork", "spawn"])("children made by %s", (startMethod) => {
  const run = async (name: string) =>
    lines(
      await runScript(fixture(`one-file/${name}`), { env: { FORKMAP_TEST_START: startMethod } }),
    );
  /** Output before `new Parallel` is printed again by each process that runs the file up to that line. */
  const reruns = startMethod === "fork" ? 1 : 3;
  const again = (line: string) => Array.from({ length: reruns }, () => line);

  test.each(["unexported.mjs", "unexported.cjs"])("%s", async (name) => {
    const printed = await run(name);
    expect(printed.filter((line) => line !== "top")).toEqual(["made", "A,B,C"]);
    expect(printed.filter((line) => line === "top")).toEqual(["top", ...again("top")]);
  });

  test("an exported class in the program's file", async () => {
    const printed = await run("exported.mjs");
    expect(printed.filter((line) => line !== "top")).toEqual(["made", "A,B,C"]);
    expect(printed.filter((line) => line === "top")).toEqual(["top", ...again("top")]);
  });

  test.each(["guarded-by-argv.mjs", "guarded-by-meta.mjs", "guarded.cjs"])(
    "an exported class in a program that does nothing when it is imported: %s",
    async (name) => {
      const printed = await run(name);
      expect(printed.filter((line) => line !== "top")).toEqual(["guarded", "A,B,C"]);
      expect(printed.filter((line) => line === "top")).toEqual(["top", ...again("top")]);
    },
  );

  test.each([
    ["opens-first.mjs", "could not be loaded: Error: listen EADDRINUSE"],
    ["makes-first.mjs", "could not be loaded: Error: EEXIST"],
    ["awaits-first.mjs", "never finished loading"],
  ])(
    "a program that does too much before `new Parallel` gets an error that it is run twice: %s",
    async (name, what) => {
      const [error] = await run(name);
      expect(error).toMatch(/^WorkerModuleError: /);
      expect(error).toContain(what);
      expect(error).toContain("The program is run a second time, up to `new Parallel`");
      expect(error).toContain("move `new Parallel` right below its class");
      expect(error).toContain("export that from a module of its own");
    },
  );

  test("nothing after `new Parallel` runs in a child: in main()", async () => {
    expect(await run("in-main.mjs")).toEqual(["made", "A,B,C", "end"]);
  });

  test("nothing after `new Parallel` runs in a child: catch and finally", async () => {
    expect(await run("in-try.mjs")).toEqual(["made", "A,B,C", "caught a bad word", "finally"]);
  });

  test("two Parallels in a row with the same class", async () => {
    expect(await run("two-in-a-row.mjs")).toEqual(["a1,b1", "a2,b2"]);
  });

  test("two Parallels with different classes", async () => {
    expect(await run("two-classes.mjs")).toEqual(["AB,CD", "BA,DC"]);
  });

  test("a second class after a call of the first", async () => {
    expect(await run("second-after-first.mjs")).toEqual(["AB,CD", "BA,DC"]);
  });

  test("private fields are those of the worker made in the child, own fields those of the parent", async () => {
    const [printed] = await run("fields.mjs");
    const [[item, secret, own, table, when]] = JSON.parse(printed!) as [unknown[]];
    expect([item, secret, table, when]).toEqual([1, "private", [1], "1970-01-01T00:00:00.000Z"]);
    expect(own).toMatchObject({ deep: [1, { two: 2 }] });
  });
});

describe.concurrent.each(["fork", "spawn"])("a class made by a function, by %s", (startMethod) => {
  const run = async (way: string) => {
    const env = { FORKMAP_TEST_START: startMethod };
    const ran = await runScript(fixture("one-file/made-by-function.mjs"), { env, args: [way] });
    return lines(ran).map((line) => JSON.parse(line) as unknown);
  };

  test("is used when the program creates it again with the same variables", async () => {
    expect(await run("one")).toEqual([[3, 6]]);
    expect(await run("one with a function")).toEqual([[3, 6]]);
  });

  test.each(["two", "block"])("is distinguished from others of equal text: %s", async (way) => {
    expect(await run(way)).toEqual([
      [4, 8],
      [3, 6],
    ]);
  });

  test("is refused if others have the same text and variables that cannot be compared", async () => {
    for (const each of await run("two with functions")) {
      expect(each).toMatch(
        /^WorkerModuleError: Apply is defined inside apply\(\) and uses its variables, and there is more than one/,
      );
      expect(each).toContain("Define it at the top level of a module");
    }
  });

  test("is refused if the program creates it with other variables", async () => {
    expect(await run("another")).toEqual([
      expect.stringMatching(
        /^WorkerModuleError: Multiply is defined inside multiply\(\) and uses its variables \(`k` is \d+ in the program but \d+ when/,
      ),
    ]);
  });

  test("is refused if the program does not create it again", async () => {
    expect(await run("request")).toEqual([
      expect.stringMatching(
        /^WorkerModuleError: Multiply is defined inside multiply\(\) and uses its variables, which no other/,
      ),
    ]);
  });
});

test("TypeScript under tsx falls back to spawn, with the reason", async () => {
  const tsx = import.meta.resolve("tsx");
  const ran = await runScript(fixture("one-file/typescript.ts"), { execArgv: ["--import", tsx] });
  const printed = lines(ran).filter((line) => line !== "top");
  expect(printed.slice(0, 2)).toEqual(["made", "A!,B!,C!"]);
  const { startMethod, reason } = JSON.parse(printed[2]!) as {
    startMethod: string;
    reason?: string;
  };
  if (startMethod === "spawn") {
    expect(reason).toMatch(/thread/);
    expect(ran.stderr).toContain("ForkmapWarning: Children are spawned, not forked");
  } else {
    expect(startMethod).toBe("fork");
  }
});

test.runIf(STRIPS_TYPES)("TypeScript under Node's own type stripping is forked", async () => {
  const printed = lines(await runScript(fixture("one-file/typescript.ts"), { env: QUIET }));
  expect(printed.filter((line) => line !== "top").slice(0, 2)).toEqual(["made", "A!,B!,C!"]);
  expect(JSON.parse(printed.at(-1)!)).toEqual({ startMethod: "fork" });
});

test("a module that starts a thread falls back to spawn, with one warning", async () => {
  const ran = await runScript(fixture("one-file/threaded.mjs"));
  const [words, stats] = lines(ran);
  expect(words).toBe("A,B,C");
  const { startMethod, reason } = JSON.parse(stats!) as { startMethod: string; reason: string };
  expect(startMethod).toBe("spawn");
  expect(reason).toMatch(/has started threads/);
  expect(ran.stderr.match(/ForkmapWarning/g)).toHaveLength(1);
});
