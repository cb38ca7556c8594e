/** A child runs the program up to `new Parallel` also with async hooks enabled: Node checks its stack of async ids. */
import { describe, expect, test } from "vitest";
import { fixture, runScript } from "../../support/run-script.js";

describe.each(["fork", "spawn", "thread"])("a class in the program itself, by %s", (start) => {
  const env = { FORKMAP_TEST_START: start };

  test.each([
    ["storage", "[ 1, 4 ] store\n"],
    ["hook", "[ 1, 4 ]\nfinally\n"],
    ["resource", "[ 1, 4 ]\n"],
  ])("found within: %s", async (way, stdout) => {
    const ran = await runScript(fixture("one-file/hooked.mjs"), { env, args: [way] });
    expect(ran).toMatchObject({ code: 0, stdout, stderr: "" });
  });
});

describe.each(["fork", "spawn"])("a file of node:test with the class in it, by %s", (start) => {
  test.each([["run by itself"], ["run by `node --test`", "--test"]])("%s", async (_, ...flags) => {
    const ran = await runScript(fixture("one-file/node-test.mjs"), {
      execArgv: [...flags, "--test-reporter=tap"],
      env: { FORKMAP_TEST_START: start },
    });
    expect(ran.code, ran.stdout).toBe(0);
    // Reported once, although each child has run the first test again.
    expect(ran.stdout.match(/ok \d+ - .*/g)).toEqual([
      "ok 1 - comes before",
      "ok 1 - squares",
      "ok 2 - has a test in it",
    ]);
    expect(ran.stdout).toContain("\n# pass 3\n");
  });
});
