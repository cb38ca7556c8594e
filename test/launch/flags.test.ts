/** Flags of Node that disable features: children are made in another way, or the error names the flag to add. */
import { describe, expect, test } from "vitest";
import { fixture, runScript } from "../support/run-script.js";

const HAS_PERMISSION = process.allowedNodeEnvironmentFlags.has("--permission");
const KNOWS = (flag: string) => process.allowedNodeEnvironmentFlags.has(flag);

async function outcomes(...execArgv: string[]): Promise<Record<string, unknown>> {
  const env = { NODE_NO_WARNINGS: "1" };
  const ran = await runScript(fixture("flags.mjs"), { execArgv, env });
  expect(ran.code, ran.stderr).toBe(0);
  // V8 may print to stdout which flags --jitless disables.
  return JSON.parse(ran.stdout.trimEnd().split("\n").at(-1)!) as Record<string, unknown>;
}

test("--jitless: children are forked without WebAssembly too", async () => {
  expect(await outcomes("--jitless")).toMatchObject({ found: [2, "fork"], pool: [2, "fork"] });
});

test("--frozen-intrinsics: children are spawned, because Math.random cannot be replaced", async () => {
  const reason = expect.stringContaining(
    "functions that forked children must not share cannot be replaced",
  );
  expect(await outcomes("--frozen-intrinsics")).toMatchObject({
    found: [2, "spawn", reason],
    pool: [2, "spawn", reason],
    thread: [2, "thread"],
  });
});

describe.runIf(HAS_PERMISSION)("--permission", () => {
  const all = ["--permission", "--allow-fs-read=*", "--allow-fs-write=*"];
  const forbidden = (what: string, flag: string) =>
    expect.stringMatching(
      new RegExp(`^LaunchError: Node's permission model .* forbids ${what}.*: add .*${flag}`),
    );

  test("without processes and threads, items can run in this process", async () => {
    expect(await outcomes(...all)).toMatchObject({
      found: forbidden("starting processes", "--allow-child-process"),
      named: forbidden("starting processes", "--allow-child-process"),
      thread: forbidden("starting threads", "--allow-worker"),
      inline: [2, "inline"],
    });
  });

  test("without the inspector, a class must be named by its module", async () => {
    const reason = expect.stringContaining("addons is disabled");
    const got = await outcomes(...all, "--allow-child-process", "--allow-worker");
    expect(got).toMatchObject({
      found: forbidden("looking for the worker's class", "the option `module`"),
      named: [2, "spawn", reason],
      pool: KNOWS("--allow-net")
        ? forbidden("a channel to a child of a pool", "--allow-net")
        : [2, "spawn", reason],
      thread: [2, "thread"],
    });
  });

  test("without write permission, the error names the directory", async () => {
    const [permission, read] = all;
    const got = await outcomes(permission!, read!, "--allow-child-process");
    expect(got["named"]).toEqual(
      forbidden("writing to the scratch directory", "--allow-fs-write="),
    );
  });

  test.runIf(KNOWS("--allow-inspector"))(
    "with all permissions that fork needs, children are forked",
    async () => {
      const more = ["--allow-child-process", "--allow-inspector", "--allow-addons"];
      expect(await outcomes(...all, ...more)).toMatchObject({ found: [2, "fork"] });
    },
  );
});
