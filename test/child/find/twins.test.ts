/** Functions of equal text are told apart, and one that has changed with what it uses is not taken for what it was. */
import { readFileSync } from "node:fs";
import { describe, expect, it, test } from "vitest";
import looped from "../../fixtures/functions/exported-in-loop.cjs";
import { opened } from "../../support/opened.js";
import { rejection } from "../../support/rejection.js";
import { fixture, type Ran, runScript } from "../../support/run-script.js";
import { temporaryDirectory } from "../../support/temporary.js";

const { add, double, negate, triple } = looped as Record<string, (n: number) => number>;

describe.each(["fork", "spawn"])("a function, by %s", (startMethod) => {
  const ran = (name: string, ...args: string[]): Promise<Ran> =>
    runScript(fixture(`functions/${name}`), { env: { FORKMAP_TEST_START: startMethod }, args });

  async function run(name: string, ...args: string[]): Promise<string> {
    const { stdout, stderr, code } = await ran(name, ...args);
    expect(code, stderr).toBe(0);
    return stdout.trimEnd();
  }

  test("of the same name and text in another file", async () => {
    expect(await run("twin.mjs")).toBe("[ 2 ] [ 3 ]");
  });

  test("of the same name and text in another turn of a loop, in CommonJS", async () => {
    expect(await run("in-loop.cjs")).toBe("[[2],[3]]");
  });

  test("that uses `this` of one of several objects is refused", async () => {
    for (const line of (await run("with-this.mjs")).split("\n")) {
      expect(line).toMatch(/^WorkerModuleError: work is defined inside an object and uses/);
    }
  });

  test("that is defined between `new Parallel` and the call of another", async () => {
    expect(await run("defined-in-between.mjs")).toBe("[ 2 ] [ 3 ]");
  });

  test.each([
    ["ofFunction", "[6]"],
    ["ofPattern", '["5"]'],
    ["ofInstance", "[10]"],
    ["ofMap", "[5]"],
    ["ofBytes", "[5]"],
    ["made", "[6]"],
  ])("after the call of another, refused if what it uses has changed: %s", async (way, result) => {
    expect(await run("changed-state.mjs", way)).toBe(result);
    const refusal = await run("changed-state.mjs", way, "changed");
    expect(refusal).toMatch(
      /^WorkerModuleError: .*what it uses has changed by then: `\w+` is .* when its file is run again/s,
    );
  });

  test("after the call of another, refused if nobody can see whether it has changed", async () => {
    expect(await run("changed-state.mjs", "ofPromise")).toMatch(
      /changed by then: `pending` may have been another, which cannot be seen\. Another/,
    );
  });

  test("that is used again after a variable has changed warns", async () => {
    const { stderr, code } = await ran("changed-again.mjs");
    expect(code).toBe(0);
    expect(stderr).toContain(
      "times uses `factor`, which is 3 in the program but 2 in its processes",
    );
    expect(stderr.match(/FORKMAP_CHANGED/g)).toHaveLength(1);
  });
});

test.each(["fork", "spawn"])(
  "a program in whose thread it is does not start itself endlessly, by %s",
  async (start) => {
    const log = `${temporaryDirectory()}/log`;
    const { stdout } = await runScript(fixture("one-file/in-own-thread.mjs"), {
      env: { FORKMAP_TEST_START: start },
      args: [log],
    });
    expect(stdout).toMatch(
      /threads cannot use Parallel: export|The function square is not exported by/,
    );
    // The program and its thread, and once more each.
    expect(readFileSync(log, "utf8").split("\n").length - 1).toBeLessThanOrEqual(4);
  },
);

it("a parameter that is named like a variable of the program causes no warning", async () => {
  const { stdout, stderr } = await runScript(fixture("functions/shadows.mjs"));
  expect({ stdout, stderr }).toEqual({ stdout: "[ 'found' ]\n", stderr: "" });
});

describe.each(["fork", "spawn"] as const)("exports of one name and text, by %s", (startMethod) => {
  it("are told apart by their variables", async () => {
    expect(await opened(triple!, { startMethod }).mapProcesses([5])).toEqual([15]);
    expect(await opened(double!, { startMethod }).mapProcesses([5])).toEqual([10]);
  });
});

it("exports of one name and text whose variables cannot be compared are refused", async () => {
  for (const worker of [add, negate]) {
    const error = await rejection(opened(worker!).mapProcesses([5]));
    expect(error.message).toMatch(/exports more than one function with the name apply/);
  }
});
