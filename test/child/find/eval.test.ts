/** A program given on the command line: children get Node's other options, but not the program, which would run again. */
import { spawn } from "node:child_process";
import { describe, expect, test } from "vitest";
import { fixture, outputOf } from "../../support/run-script.js";

/** Ends immediately in a child: otherwise a failure would start processes forever. */
const PROGRAM = `
if (process.env.FORKMAP_TEST_DEPTH) { process.stdout.write("started itself again"); process.exit(9); }
const env = { ...process.env, FORKMAP_TEST_DEPTH: "1" };
(async () => {
  const { Parallel } = await import("forkmap");
  const { Upper } = await import(${JSON.stringify(fixture("upper.mjs"))});
  const parallel = new Parallel(new Upper(), { env, startMethod: process.env.FORKMAP_TEST_START });
  const words = await parallel.mapProcesses(["a", "b"]).catch((error) => [error.message]);
  await parallel.close();
  process.stdout.write(words.join());
})();
`;

describe.each(["fork", "spawn"])("children made by %s", (startMethod) => {
  test.each([
    { how: "-e", flags: ["-e", PROGRAM] },
    { how: "--eval", flags: ["--eval", PROGRAM] },
    { how: "--eval=", flags: [`--eval=${PROGRAM}`] },
    { how: "-p", flags: ["-p", PROGRAM] },
    { how: "-pe", flags: ["-pe", PROGRAM] },
    { how: "--input-type=module -e", flags: ["--input-type=module", "-e", PROGRAM] },
  ])("of a program given by $how", async ({ flags }) => {
    const program = spawn(process.execPath, flags, {
      cwd: fixture(""),
      env: { ...process.env, FORKMAP_TEST_START: startMethod },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const { stdout, stderr, code } = await outputOf(program);
    expect(stdout, stderr).not.toContain("started itself again");
    // -p prints a value of its own, on Node 20 before the program's output and later after it.
    expect(stdout, stderr).toContain("A,B");
    expect(code).toBe(0);
  });
});
