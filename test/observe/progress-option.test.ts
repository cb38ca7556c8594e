import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { expect, it } from "vitest";
import { program } from "../support/program.js";

const hasScript = spawnSync("script", ["--version"]).status === 0;

it.runIf(hasScript)(
  "progress draws a line on a terminal while the call runs, and prints a summary",
  async () => {
    const file = fileURLToPath(
      new URL("../fixtures/programs/progress-option.mjs", import.meta.url),
    );
    const line = `stty cols 80 rows 20; '${process.execPath}' '${file}' Probing 2`;
    const { CI: _ci, NO_COLOR: _noColor, FORCE_COLOR: _force, ...env } = process.env;
    const child = spawn("script", ["-qec", line, "/dev/null"], {
      stdio: ["ignore", "pipe", "ignore"],
      env: { ...env, TERM: "xterm-256color" },
    });
    const [output] = await Promise.all([text(child.stdout), once(child, "close")]);
    const frames = output
      .split("\u001B[1G")
      .map((each) => stripVTControlCharacters(each))
      .filter((each) => each !== "");
    expect(frames[0]).toMatch(/^\S Probing \[ *=* *\] \d+ of 40 \(\d+%\)/);
    expect(frames.length).toBeGreaterThan(3);
    expect(frames.at(-2)).toContain("1 failed");
    expect(frames.at(-1)).toMatch(/^Probing: 40 of 40 items \(100%\), 1 failed, .*, in \d+ s\r\n$/);
  },
);

it.each(["0", "2"])(
  "progress shows the name of the worker, and goes to stderr: pool %s",
  async (pool) => {
    const { code, stdout, stderr } = await program("progress-option.mjs", ["", pool]).ended;
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    expect(stderr).toMatch(
      /(^|\n)Slow: 40 of 40 items \(100%\), 1 failed, [\d.]+\/\w+, in \d+ s\n$/,
    );
  },
);
