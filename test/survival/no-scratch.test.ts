/** No directory for scratch files, or no /proc: an error names it, or the call works without it. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { fixture, runScript } from "../support/run-script.js";
import { temporaryDirectory } from "../support/temporary.js";

const root = mkdtempSync(path.join(tmpdir(), "no-scratch-"));
afterAll(() => rmSync(root, { recursive: true }));
const FILE = path.join(root, "file");
writeFileSync(FILE, "");
const MISSING = path.join(root, "missing");

describe.each([
  ["does not exist", MISSING, "ENOENT"],
  ["is a file", FILE, "ENOTDIR"],
])("a temporary directory that %s", (_, directory, code) => {
  test.each(["fork", "pool", "spawn", "command"])(
    "%s: a LaunchError names it and `scratchRoot`",
    async (way) => {
      const env = { TMPDIR: directory };
      const args = [way, "3"];
      const {
        stdout,
        stderr,
        code: exitCode,
      } = await runScript(fixture("scarce-run.mjs"), { args, env });
      expect(exitCode, stderr).toBe(0);
      const [told] = Object.keys(JSON.parse(stdout) as object);
      expect(told).toContain("LaunchError: The scratch directory could not be made in ");
      expect(told).toContain(directory);
      expect(told).toContain(code);
      expect(told).toContain("`scratchRoot`");
    },
  );

  test("does not affect threads", async () => {
    const env = { TMPDIR: directory };
    const { stdout } = await runScript(fixture("scarce-run.mjs"), { args: ["threads", "3"], env });
    expect(JSON.parse(stdout)).toEqual({ done: 3 });
  });

  test("does not matter if `scratchRoot` is given", async () => {
    const scratch = path.join(root, `scratch-${code}`);
    mkdirSync(scratch);
    const { stdout, stderr } = await runScript(fixture("limited-run.mjs"), {
      args: ["3", "4", "fork", scratch, "2"],
      env: { TMPDIR: directory },
    });
    expect(JSON.parse(stdout), stderr).toEqual(Array.from({ length: 3 }, () => ({ length: 1 })));
    expect(readdirSync(scratch)).toEqual([]);
  });
});

test("a program that ends without `close` has removed its scratch directory when it exits", async () => {
  const scratch = temporaryDirectory();
  const script = `
    import { Parallel } from "forkmap";
    import { Moment } from ${JSON.stringify(fixture("moment.mjs"))};
    const parallel = new Parallel(new Moment(), { pool: 2, scratchRoot: ${JSON.stringify(scratch)} });
    await parallel.mapProcesses([{ n: 0, bytes: 4 }]);
  `;
  const { status } = spawnSync(process.execPath, ["--input-type=module", "-e", script]);
  expect(status).toBe(0);
  expect(readdirSync(scratch)).toEqual([]);
});

const CAN_UNSHARE =
  process.getuid?.() === 0 &&
  spawnSync("unshare", ["-m", "mount", "-t", "tmpfs", "tmpfs", "/proc"]).status === 0;

test.runIf(CAN_UNSHARE)("without /proc, children are spawned (needs root to hide it)", () => {
  const command = `mount -t tmpfs tmpfs /proc && exec "$0" "$1" fork 3`;
  const { stdout, stderr } = spawnSync(
    "unshare",
    ["-m", "sh", "-c", command, process.execPath, fixture("scarce-run.mjs")],
    { encoding: "utf8" },
  );
  expect(stderr).toContain("Children are spawned, not forked: /proc is not mounted");
  expect(JSON.parse(stdout)).toEqual({ done: 3 });
});
