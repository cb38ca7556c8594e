/** Test runners load modules in ways of their own: each runs a file of tests that use this package. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runScript } from "../support/run-script.js";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const MODULES = path.join(REPOSITORY, "node_modules");

const WORKER = `import { JsonWorker } from "forkmap";
let calls = 0;
export class Square extends JsonWorker {
  process(n) {
    calls += 1;
    return [n * n, calls];
  }
}
`;
const TYPESCRIPT = `import { JsonWorker } from "forkmap";
enum Factor { two = 2 }
export class Double extends JsonWorker<number, number> {
  process(n: number): number {
    return n * Factor.two;
  }
}
`;
/** The class of the test file itself is unavailable to a child, because a test runner has loaded the file. */
const testFile = (imports: string) => `${imports}
import assert from "node:assert/strict";
import { JsonWorker, Parallel } from "forkmap";
import { Square } from "./square.mjs";

class Here extends JsonWorker {
  process(n) {
    return n;
  }
}
const call = async (verb, options, worker = new Square()) => {
  const parallel = new Parallel(worker, options);
  try {
    return await parallel[verb]([1, 2]);
  } finally {
    await parallel.close();
  }
};
it("forks", async () => {
  assert.deepEqual(await call("mapProcesses", { startMethod: "fork" }), [[1, 1], [4, 1]]);
});
it("has a thread", async () => {
  assert.deepEqual(await call("mapThreads", { concurrency: 1 }), [[1, 1], [4, 2]]);
});
it("runs it in this process", async () => {
  assert.deepEqual(await call("mapProcesses", { pool: 0 }), [[1, 1], [4, 2]]);
});
it("cannot have a class of the test file", async () => {
  await assert.rejects(call("mapProcesses", {}, new Here()), {
    name: "WorkerModuleError",
    message: /children load it as Node does, without \\w+: if it is a test file, put the worker into a module/i,
  });
});
`;

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), "runners-of-forkmap-"));
  mkdirSync(path.join(directory, "node_modules"));
  symlinkSync(REPOSITORY, path.join(directory, "node_modules/forkmap"));
  for (const name of ["vitest", "jest", "@jest", "mocha"]) {
    symlinkSync(path.join(MODULES, name), path.join(directory, "node_modules", name));
  }
  write("square.mjs", WORKER);
  write("package.json", '{ "type": "module" }');
});

afterAll(() => rmSync(directory, { recursive: true }));

function write(name: string, text: string): void {
  writeFileSync(path.join(directory, name), text);
}

async function run(cli: string, args: readonly string[], execArgv: readonly string[] = []) {
  const env = { NO_COLOR: "1", NODE_NO_WARNINGS: "1" };
  const ran = await runScript(path.join(MODULES, cli), { args, execArgv, env, cwd: directory });
  return { ...ran, output: ran.stdout + ran.stderr };
}

describe.each(["forks", "threads", "vmThreads"])("Vitest with pool %s", (pool) => {
  const args = ["run", "--root", ".", "--pool", pool];

  test("runs processes and threads", async () => {
    write("vitest.test.mjs", testFile('import { it } from "vitest";'));
    const { code, output } = await run("vitest/vitest.mjs", [...args, "vitest.test.mjs"]);
    expect(code, output).toBe(0);
    expect(output).toMatch(/Tests +4 passed/);
  });
});

test("Vitest with a worker in TypeScript: the error says which option helps", async () => {
  write("double.ts", TYPESCRIPT);
  write(
    "typescript.test.ts",
    `import { it, expect } from "vitest";
    import { Parallel } from "forkmap";
    import { Double } from "./double.ts";
    it("says so", async () => {
      await expect(new Parallel(new Double()).mapProcesses([1])).rejects.toThrow(
        'set \`execArgv: ["--import", "tsx"]\`',
      );
    });
    it("works so", async () => {
      const parallel = new Parallel(new Double(), { execArgv: ["--import", ${JSON.stringify(import.meta.resolve("tsx"))}] });
      expect(await parallel.mapProcesses([1])).toEqual([2]);
    }, 30_000);`,
  );
  const { code, output } = await run("vitest/vitest.mjs", ["run", "--root", ".", "typescript"]);
  expect(code, output).toBe(0);
});

test("Jest, with ES modules", async () => {
  write("jest.test.mjs", testFile('import { it } from "@jest/globals";'));
  write("jest.config.mjs", 'export default { testMatch: ["**/jest.test.mjs"], transform: {} };');
  const { code, output } = await run("jest/bin/jest.js", [], ["--experimental-vm-modules"]);
  expect(code, output).toBe(0);
  expect(output).toMatch(/Tests: +4 passed/);
});

test.each([["in one process"], ["in parallel", "--parallel"]])("Mocha, %s", async (_, ...flags) => {
  write("mocha.test.mjs", testFile(""));
  const args = [...flags, "--timeout=30000", "mocha.test.mjs"];
  const { code, output } = await run("mocha/bin/mocha.js", args);
  expect(code, output).toBe(0);
  expect(output).toContain("4 passing");
});
