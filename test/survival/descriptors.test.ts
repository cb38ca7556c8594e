/** Few file descriptors: items wait or fail with the name of the limit; the program ends, and leaves nothing behind. */
import { spawn, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fixture, outputOf } from "../support/run-script.js";
import { temporaryDirectory } from "../support/temporary.js";

const ITEMS = 40;
/** The shell's `ulimit`, which is built in. */
const HAS_LIMITS = process.platform === "linux";
const NAMES_LIMIT =
  /(StartError|LaunchError): .*no file descriptor is left: the limit is \d+ \(ulimit -n\)/;

/** Returns the limit below which Node cannot load the package. */
function leastLimit(): number {
  for (let limit = 24; ; limit += 2) {
    const script = `ulimit -n ${limit}; exec "$0" -e 'import("forkmap")'`;
    if (spawnSync("sh", ["-c", script, process.execPath]).status === 0) return limit;
  }
}

describe.runIf(HAS_LIMITS)("with few file descriptors", () => {
  const least = HAS_LIMITS ? leastLimit() : 0;

  async function run(way: string, limit: number): Promise<Record<string, number>> {
    const scratch = temporaryDirectory();
    const script = `ulimit -n ${limit}; exec "$@"`;
    const file = fixture("scarce-run.mjs");
    const child = spawn("sh", ["-c", script, "sh", process.execPath, file, way, String(ITEMS)], {
      env: { PATH: process.env["PATH"], TMPDIR: scratch },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const { stdout, stderr, code, signal } = await outputOf(child);
    expect({ code, signal }, stderr).toEqual({ code: 0, signal: null });
    expect(stderr).not.toMatch(/MaxListeners|Unhandled|TypeError/);
    expect(readdirSync(scratch)).toEqual([]);
    return JSON.parse(stdout) as Record<string, number>;
  }

  test.each(["fork", "tag", "pool", "spawn", "spawned pool", "command"])(
    "%s: all items are done, in as many children as possible",
    { timeout: 60_000 },
    async (way) => {
      expect(await run(way, least + 20)).toEqual({ done: ITEMS });
    },
  );

  // Enough descriptors to fork a child, but not to read its output: an earlier version retried forever.
  const fewest = least + 2;
  const cases = [
    ...["fork", "pool", "spawn", "spawned pool", "threads", "command"].map(
      (way) => [way, fewest] as const,
    ),
    ...[fewest, fewest + 2, fewest + 4].map((limit) => ["tag", limit] as const),
  ];
  test.each(cases)(
    "%s: at the lowest limit (%i) each is done, or fails with the name of the limit",
    { timeout: 60_000 },
    async (way, limit) => {
      const told = await run(way, limit);
      for (const what of Object.keys(told)) {
        if (what !== "done") expect(what).toMatch(NAMES_LIMIT);
      }
    },
  );
});
