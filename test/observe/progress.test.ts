import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import type { WriteStream } from "node:tty";
import { stripVTControlCharacters } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
// Not exported by the package.
import { Progress } from "../../src/observe/progress.js";
import { fixture, runScript } from "../support/run-script.js";

// The package's own timers ignore fake timers; these replacements follow them.
vi.mock("../../src/system/timers.js", () => ({
  setInterval: (tick: () => void, ms: number) => setInterval(tick, ms),
  clearInterval: (timer: NodeJS.Timeout) => clearInterval(timer),
}));
vi.mock("../../src/system/monotonic.js", () => ({ monotonic: () => performance.now() }));

const hasScript = spawnSync("script", ["--version"]).status === 0;

describe("Progress, not on a terminal", () => {
  let written: string[];
  let stream: WriteStream;
  beforeEach(() => {
    vi.useFakeTimers();
    written = [];
    stream = new Writable({
      decodeStrings: false,
      write(chunk: string, _encoding, done) {
        written.push(chunk);
        done();
      },
    }) as unknown as WriteStream;
  });
  afterEach(() => void vi.useRealTimers());

  it("prints a plain line every five seconds, and one at the end", () => {
    const progress = new Progress("Probing", 5000, stream);
    vi.advanceTimersByTime(4999);
    expect(written).toEqual([]);
    progress.add(1197, 3);
    vi.advanceTimersByTime(1);
    progress.add(1200, 0);
    vi.advanceTimersByTime(5000);
    progress.add(2600, 0);
    vi.advanceTimersByTime(1000);
    progress.end();
    progress.end();
    vi.advanceTimersByTime(60_000);
    expect(written).toEqual([
      "Probing: 1200 of 5000 items (24%), 3 failed, 240/s, about 16 s left\n",
      "Probing: 2400 of 5000 items (48%), 3 failed, 240/s, about 11 s left\n",
      "Probing: 5000 of 5000 items (100%), 3 failed, 455/s, in 11 s\n",
    ]);
  });

  it("prints only count and rate while the total is unknown", () => {
    const progress = new Progress("", undefined, stream);
    vi.advanceTimersByTime(5000);
    progress.add(1, 0);
    vi.advanceTimersByTime(5000);
    progress.total = 4;
    vi.advanceTimersByTime(5000);
    progress.end();
    expect(written).toEqual([
      "0 items\n",
      "1 item, 6.0/min\n",
      "1 of 4 items (25%), 4.0/min, about 45 s left\n",
      "1 of 4 items (25%), 4.0/min, in 15 s\n",
    ]);
  });

  it.each([
    [2, 1, "12.0/min, about 5 s left"],
    [200, 1, "12.0/min, about 16 min 35 s left"],
    [10_000, 10, "2.0/s, about 1 h 23 min left"],
    [1_000_000, 10, "2.0/s, about 5 d 18 h left"],
  ])("prints long durations in suitable units: %i items", (total, done, words) => {
    const progress = new Progress("", total, stream);
    progress.add(done, 0);
    vi.advanceTimersByTime(5000);
    progress.end();
    expect(written[0]).toContain(words);
  });

  it("prints low rates in suitable units", () => {
    const progress = new Progress("", undefined, stream);
    progress.add(1, 0);
    vi.advanceTimersByTime(90_000);
    progress.end();
    expect(written.at(-1)).toBe("1 item, 40.0/h, in 1 min 30 s\n");
  });

  it("follows a changing rate", () => {
    const progress = new Progress("", 100_000, stream);
    for (let second = 0; second < 60; second += 1) {
      progress.add(second < 30 ? 1000 : 10, 0);
      vi.advanceTimersByTime(1000);
    }
    progress.end();
    expect(written.at(2)).toMatch(/, 1000\/s, about 1 min 25 s left\n$/);
    expect(written.at(11)).toMatch(/, 10\/s, about 1 h 56 min left\n$/);
    expect(written.at(-1)).toMatch(/, 505\/s, in 1 min 0 s\n$/);
  });

  it("prints 100% only when all items are done, and for zero items", () => {
    const progress = new Progress("", 1000, stream);
    progress.add(999, 0);
    vi.advanceTimersByTime(5000);
    progress.end();
    new Progress("", 0, stream).end();
    expect(written[0]).toContain("(99%)");
    expect(written.at(-1)).toBe("0 of 0 items (100%), in 0 s\n");
  });

  it("prints a title of several lines as one line, without control characters", () => {
    new Progress("a\n\u001B[2Jb\u0007%s%d", 1, stream).end();
    expect(written).toEqual([expect.stringMatching(/^a \[2Jb %s%d: 0 of 1 item /)]);
  });
});

describe.concurrent("Progress in a program", () => {
  it("prints to stderr only, and does not keep the program alive", async () => {
    const { stdout, stderr, code } = await runScript(fixture("progress-run.mjs"), {
      args: ["100", "forgotten"],
    });
    expect({ stdout, stderr, code }).toEqual({ stdout: "", stderr: "", code: 0 });
  });

  it("ignores a closed stderr", async () => {
    const child = spawn(process.execPath, [fixture("progress-run.mjs"), "100", "ends"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    child.stderr.destroy();
    expect(await once(child, "exit")).toEqual([0, null]);
  });
});

describe.runIf(hasScript).concurrent("Progress on a terminal", () => {
  it("redraws one line, and ends with a plain one", async () => {
    const output = await onTerminal(["100", "ends"]);
    const frames = framesOf(output);
    expect(frames[0]).toMatch(/^\S Probing \[=* *\] \d+ of 100 \(\d+%\)/);
    expect(frames.at(-2)).toMatch(/ 1 failed, \d+ s left, \d+\/s  $/);
    expect(frames.at(-1)).toMatch(
      /^Probing: 91 of 100 items \(91%\), 1 failed, \d+\/s, in \d+ s\r\n$/,
    );
    expect(output).toContain("\u001B[31m1 failed\u001B[39m");
    expect(output.match(/\n/g)).toHaveLength(1);
    // Neither the cursor nor line wrapping is changed, so there is nothing to restore.
    expect(output).not.toMatch(/\[\?(25|7)[hl]|LISTENS/);
  });

  it("has no bar while the total is unknown, and no colour with NO_COLOR", async () => {
    const output = await onTerminal(["-", "ends"], { NO_COLOR: "1" });
    expect(framesOf(output).at(-2)).toMatch(/^\S Probing \d+ items, 1 failed, \d+\/s  $/);
    expect(output).not.toMatch(/\[\d*m/);
  });

  it.each([60, 40, 24, 12])("fits into %i columns", async (columns) => {
    const frames = framesOf(await onTerminal(["100000", "ends"], {}, columns)).slice(0, -1);
    expect(frames.length).toBeGreaterThan(2);
    for (const frame of frames) {
      expect(frame.length).toBeLessThan(columns);
      expect(frame).toMatch(/\d of/);
    }
  });

  it("is cleared from the terminal when the program exits", async () => {
    const output = await onTerminal(["100", "exits"]);
    expect(framesOf(output)[0]).toContain("5 of 100");
    expect(output.endsWith("\u001B[1G\u001B[0K")).toBe(true);
  });

  it("leaves the terminal to one call at a time", async () => {
    const frames = framesOf(await onTerminal(["100", "two"]));
    expect(frames.filter((each) => each.includes("Other"))).toEqual([
      expect.stringMatching(/^Other: 3 of 3 items \(100%\), .*in \d+ s\r\n$/),
    ]);
    expect(frames.at(-2)).toMatch(/^\S Probing /);
  });

  it("prints plain lines if the optional dependency is not installed", async () => {
    const output = await onTerminal(["100", "ends", "without-ora"]);
    expect(output).toMatch(/^Probing: 91 of 100 items .*\r\n$/);
  });

  it.each([
    ["on a dumb terminal", { TERM: "dumb" }],
    ["where CI has a terminal", { CI: "true" }],
  ])("prints plain lines %s", async (_what, env) => {
    const output = await onTerminal(["100", "ends"], env);
    expect(output).toMatch(/^Probing: 91 of 100 items .*\r\n$/);
    expect(stripVTControlCharacters(output)).toBe(output);
  });
});

/** Returns the output of the fixture on a terminal. */
async function onTerminal(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  columns = 80,
): Promise<string> {
  const command = [process.execPath, fixture("progress-run.mjs"), ...args];
  const line = `stty cols ${columns} rows 20; ${command.map((each) => `'${each}'`).join(" ")}`;
  const { CI: _ci, NO_COLOR: _noColor, FORCE_COLOR: _force, ...own } = process.env;
  const child = spawn("script", ["-qec", line, "/dev/null"], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...own, TERM: "xterm-256color", ...env },
  });
  const [output] = await Promise.all([text(child.stdout), once(child, "close")]);
  return output;
}

/** Returns the visible frames, in order. */
function framesOf(output: string): string[] {
  return output
    .split("\u001B[1G")
    .map((each) => stripVTControlCharacters(each))
    .filter((each) => each !== "");
}
