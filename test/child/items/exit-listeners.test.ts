/** Exit listeners of a worker's module run in each child, forked or spawned. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fixture, runScript } from "../../support/run-script.js";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "exit-listeners-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

test.each([
  ["a child per item", { concurrency: 2 }, "fork", /^x{6}$/],
  [
    "a pool whose children are replaced",
    { pool: 2, batch: 1, maxItemsPerChild: 2 },
    "fork",
    /^x{3,6}$/,
  ],
  ["spawn", { startMethod: "spawn", concurrency: 2 }, "spawn", /^x{6}$/],
])(
  "%s: no line of a logger is lost, and no file that other processes use",
  async (_, options, method, exits) => {
    const { code, stdout, stderr } = await runScript(fixture("programs/cleans-up.mjs"), {
      args: [JSON.stringify(options)],
      env: { FORKMAP_TEST_DIRECTORY: directory },
    });
    expect(code, stderr).toBe(0);
    const lines = stdout.trim().split("\n");
    const { results, startMethod } = JSON.parse(lines.pop()!) as Record<string, unknown>;
    expect({ results, startMethod }).toEqual({
      results: Array(6).fill("data data data"),
      startMethod: method,
    });
    const logged = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
    const expected = [1, 2, 3, 4, 5, 6].flatMap((item) =>
      Array.from({ length: 50 }, (_, i) => `item ${item} line ${i}`),
    );
    expect(logged.toSorted()).toEqual(expected.toSorted());
    expect(readFileSync(path.join(directory, "exits"), "utf8")).toMatch(exits);
    expect(readdirSync(directory)).toEqual(["exits"]);
  },
);
