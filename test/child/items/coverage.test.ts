/** Each child writes the coverage of its code to a file of its own. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { fixture, runScript } from "../../support/run-script.js";
import { temporaryDirectory } from "../../support/temporary.js";

interface Coverage {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly {
      readonly functionName: string;
      readonly ranges: readonly { readonly count: number }[];
    }[];
  }[];
}

/** The pids of the processes that have run `process` of the worker. */
function coveredBy(directory: string): string[] {
  const pids = readdirSync(directory).filter((name) => {
    const { result } = JSON.parse(readFileSync(path.join(directory, name), "utf8")) as Coverage;
    const functions = result
      .filter(({ url }) => url.endsWith("/echo.mjs"))
      .flatMap((each) => each.functions);
    return functions.some(
      ({ functionName, ranges }) => functionName === "process" && ranges[0]!.count > 0,
    );
  });
  return [...new Set(pids.map((name) => name.split("-")[1]!))];
}

describe.each(["fork", "spawn"])("by %s", (startMethod) => {
  it.each([
    ["a child per item", {}, 3],
    ["a pool", { pool: 1 }, 1],
    ["a pool with threads", { pool: 1, threads: 1 }, 1],
  ])("with %s", async (_, options, children) => {
    const directory = temporaryDirectory();
    const { code, stdout, stderr } = await runScript(fixture("covered.mjs"), {
      args: [JSON.stringify({ startMethod, ...options })],
      env: { NODE_V8_COVERAGE: directory },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const pids = JSON.parse(stdout) as number[];
    expect(new Set(pids).size).toBe(children);
    expect(coveredBy(directory).toSorted()).toEqual([...new Set(pids.map(String))].toSorted());
  });
});
