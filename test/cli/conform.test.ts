/** `forkmap conform`, with a program that follows the protocol and with many that make one mistake each. */
import { spawnSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { fixture, type Ran } from "../support/run-script.js";
import { temporaryDirectory } from "../support/temporary.js";
import { MAIN, runCli } from "./run-cli.js";

const hasPython = spawnSync("python3", ["--version"]).status === 0;
const hasScript = spawnSync("script", ["--version"]).status === 0;
const PROGRAM = fixture("conform/program.sh");
const ITEM = ["--item", '"a"'];
/** Several of these checks wait 5 s for silence. */
const LONG = { timeout: 120_000 };

async function conform(mode: string, options: readonly string[] = ITEM): Promise<Ran> {
  return await runCli(["conform", ...options, "--", "sh", PROGRAM, mode]);
}

async function python(name: string, options: readonly string[]): Promise<Ran> {
  const program = ["python3", fixture(`conform/${name}`)];
  return await runCli(["conform", ...options, "--", ...program], { PYTHONUNBUFFERED: "" });
}

function linesOf({ stdout }: Ran, label: string): string[] {
  return stdout.split("\n").filter((line) => line.startsWith(label));
}

describe.concurrent("a program that follows the protocol", LONG, () => {
  it("gets a line for each check, and a summary", async () => {
    const ran = await conform("", [...ITEM, "--item", '{"b":[null,"ä🙂"]}', "--fibers"]);
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    expect(ran.stdout).toBe(`ok    can be started
ok    waits quietly for its first item
ok    answers "a": "a"
ok    answers {"b":[null,"ä🙂"]}: {"b":[null,"ä🙂"]}
ok    can do one of the items: 2 of 2
ok    sends the id back
ok    serves 5 items in one process
ok    ignores fields that it does not know
ok    reads an item of 60 KiB in one line
ok    takes an item that is in a file
ok    answers 3 requests at once
ok    ends when its stdin ends
ok    ends on SIGTERM
ok    leaves no process behind
sh ${PROGRAM} "" keeps to the protocol
`);
  });

  it("is tried with JSON values of every kind by default", async () => {
    const { code, stdout } = await conform("conforms", []);
    expect(code).toBe(0);
    for (const item of [
      '"forkmap"',
      '""',
      "42.5",
      "null",
      "[1,",
      '{"name":"Ada"',
      '"He said: \\"no\\",\\n',
    ]) {
      expect(stdout).toContain(`ok    answers ${item}`);
    }
    expect(stdout).toContain("ok    can do one of the items: 7 of 7\n");
  });

  it.each([
    ["progress", 'ok    answers "a": "a"'],
    ["result-file", 'ok    answers "a": "from a file"'],
    ["fails", 'ok    answers "a": error "KeyError: no height"'],
    ["fails", "note  can do one of the items: it gave a result for none of them"],
    [
      "no-id",
      'note  sends the id back: it leaves the id out of its answers with "ok": that is allowed',
    ],
    ["three-items", "note  serves 5 items in one process: it ended with exit code 0 after 3 items"],
    [
      "no-file",
      'note  takes an item that is in a file: given "a" in an "item_file", it answered null; given',
    ],
    ["ignores-sigterm", "note  ends on SIGTERM: it ran on for 5 s, until its stdin was closed"],
    ["fails-at-end", "note  ends when its stdin ends: it ended with exit code 1, which is allowed"],
  ])("may behave like this: %s", async (mode, line) => {
    const ran = await conform(mode);
    expect(ran.stdout).toContain(`\n${line}`);
    expect(linesOf(ran, "wrong")).toEqual([]);
    expect(ran).toMatchObject({ code: 0, stderr: "" });
  });
});

describe.concurrent("a program that makes a mistake", LONG, () => {
  const quiet = "waits quietly for its first item: it ";
  const answers = 'answers "a": it ';
  const toStdout = "stdout is for answers only; print everything else to stderr";

  it.each<[string, string]>([
    // After a slow start the banner is seen only with the first answer, and so is the prompt.
    ["banner", `${quiet}printed "Ready to serve" to stdout b`],
    ["late-banner", `${quiet}printed "Ready to serve" to stdout besides its answer: ${toStdout}`],
    ["prompt", '"> '],
    [
      "ends-at-once",
      `${quiet}ended with exit code 0 before it had read an item: it has to read its stdin`,
    ],
    ["fails-at-start", `${quiet}ended with exit code 7 before it had read an item`],
    ["floods", '"again"'],
    ["closes-stdout", `${answers}closed its stdout and is still running`],
    ["debugs", `${answers}printed "working on \\"a\\"" to stdout besides its answer: ${toStdout}`],
    ["talks-after", `printed "done with it" to stdout besides its answer: ${toStdout}`],
    [
      "indents",
      `${answers}wrote its answer on 4 lines, the first of them {: an answer is one line`,
    ],
    ["not-utf8", `${answers}wrote a line that is not UTF-8`],
    ["mark", `${answers}wrote a line that is not JSON: "\uFEFF{`],
    ["mark", "Leave out the byte order mark"],
    ["quotes", "JSON has double quotes: json.dumps(answer)"],
    ["nan", "JSON has no NaN"],
    ["array", `${answers}wrote a line that is no JSON object: "[1]"`],
    ["status", `${answers}answered with the "status" "done" where "ok", "error"`],
    [
      "no-message",
      `${answers}answered "error" with the "message" undefined, which has to be a string`,
    ],
    ["late", `${answers}answered "throttled" with the "retry_after_secs" "soon" where a number`],
    ["twice", `${answers}wrote more after its answer: {"id":"1","status":"ok"}. One request`],
    ["exits", `${answers}ended with exit code 3 in the middle of the item: it has to catch every`],
    ["killed", `${answers}was ended by SIGKILL in the middle of the item`],
    [
      "result-elsewhere",
      `${answers}answered with the "result_file" "/etc/hosts", which is outside`,
    ],
    [
      "result-not-json",
      `${answers}answered with the "result_file" "result", which cannot be read: `,
    ],
    ["number", 'sends the id back: it answered with the "id" 1, which has to be a string'],
    ["same-id", 'sends the id back: it answered with the "id" "1" where "2" was expected'],
    ["one-item", "serves 5 items in one process: it ended with exit code 0 after its first answer"],
    [
      "strict",
      'ignores fields that it does not know: given an additional field "of_a_later_version"',
    ],
    ["short-lines", "reads an item of 60 KiB in one line: it ended with exit code 6 in the middle"],
    [
      "crashes-on-file",
      'takes an item that is in a file: it was sent {"id":...,"item_file":"a path"}',
    ],
    ["ignores-end", "ends when its stdin ends: it did not end within 5 s: at the end of stdin"],
    ["never-ends", "ends on SIGTERM: it did not end within 5 s, nor when its stdin was closed"],
    ["goodbye", `ends when its stdin ends: it wrote "Goodbye" to stdout at its end: ${toStdout}`],
    [
      "leaves",
      "leaves no process behind: its stdin was closed and it was sent SIGTERM; after it had ended, its process group still contained sleep (process",
    ],
  ])("%s: %s", async (mode, sentence) => {
    const options = [...ITEM, "--item", '"b"'];
    const ran = await conform(mode, options);
    expect(linesOf(ran, "wrong").join("\n")).toContain(sentence);
    expect(ran).toMatchObject({ code: 1, stderr: "" });
    expect(ran.stdout).toMatch(
      / does not keep to the protocol: \d+ of \d+ checks? failed(, \d+ could not be run)?\n$/,
    );
  });

  // A silence of 3 s is sufficient: no answer would ever come.
  it.each<[string, string]>([
    [
      "hangs",
      "gave no answer within 3 s, nor when its stdin was closed: it hangs, or never reads its stdin",
    ],
    [
      "swallows",
      "gave no answer within 3 s, and ended with exit code 0 without one when its stdin was closed",
    ],
    [
      "keeps-back",
      'gave no answer within 3 s, and wrote {"id":"1","status":"ok","result":2} only when its stdin was closed: either its output is buffered, so flush each answer',
    ],
    ["no-newline", 'wrote {"id":"1","status":"ok"} and no newline after it within 3 s'],
    ["only-progress", 'wrote "progress" and no answer within 3 s'],
  ])("%s: %s", async (mode, sentence) => {
    const ran = await conform(mode, [...ITEM, "--item", '"b"', "--timeout", "3"]);
    expect(linesOf(ran, "wrong")[0]).toContain(`answers "a": it ${sentence}`);
    expect(ran.stdout).toContain(
      'note  1 check not run, because it gave no answer to "a" in time\n',
    );
    expect(ran).toMatchObject({ code: 1, stderr: "" });
  });

  it.each<[string, string]>([
    ["no-id", 'it left out the "id" of its answer while 3 requests were in flight'],
    ["same-id", 'it answered the request "1" twice'],
  ])("with fibers: %s: %s", async (mode, sentence) => {
    const ran = await conform(mode, [...ITEM, "--fibers"]);
    expect(linesOf(ran, "wrong").join("\n")).toContain(`answers 3 requests at once: ${sentence}`);
    expect(ran.code).toBe(1);
  });

  it.runIf(hasPython)("with fibers: takes only the first line of a chunk", async () => {
    const ran = await python("first_of_chunk.py", [...ITEM, "--fibers", "--timeout", "8"]);
    expect(linesOf(ran, "wrong").join("\n")).toMatch(
      /^wrong answers 3 requests at once: it answered [12] of 3 requests within 8 s, when they were sent at once/,
    );
  });

  it.runIf(hasPython)("does not flush", async () => {
    const ran = await python("unflushed.py", [...ITEM, "--timeout", "3"]);
    expect(linesOf(ran, "wrong")[0]).toContain(
      "only when its stdin was closed: either its output is buffered, so flush each answer",
    );
    expect(ran.stdout).toContain("ok    ends when its stdin ends\n");
    expect(ran.code).toBe(1);
  });

  it("is reported with the last lines of its stderr", async () => {
    const { stdout, stderr } = await conform("exits");
    expect(stdout).toContain("\n      | Traceback: no such table\n");
    expect(stderr).toBe("");
  });

  it("is reported once per kind of mistake", async () => {
    const ran = await conform("debugs", [...ITEM, "--item", '"b"']);
    expect(linesOf(ran, "wrong")[1]).toBe('wrong answers "b": the same mistake as with "a"');
  });

  it("is checked for everything else despite its banner", async () => {
    const ran = await conform("banner");
    expect(linesOf(ran, "wrong")).toHaveLength(1);
    expect(linesOf(ran, "note")).toEqual([]);
    expect(linesOf(ran, "ok")).toHaveLength(11);
  });
});

describe("a program that cannot be started", () => {
  async function problem(argv: readonly string[], env?: Record<string, string>): Promise<string> {
    const ran = await runCli(["conform", "--", ...argv], env);
    expect(ran).toMatchObject({ code: 1, stderr: "" });
    expect(ran.stdout).toContain("note  17 checks not run, because it cannot be started\n");
    return linesOf(ran, "wrong").join("\n");
  }

  function script(text: string, mode: number): string {
    const file = path.join(temporaryDirectory(), "program");
    writeFileSync(file, text);
    chmodSync(file, mode);
    return file;
  }

  it("does not exist", async () => {
    expect(await problem(["no-such-program"])).toMatch(
      /^wrong can be started: The program "no-such-program" was not found in PATH \(.+\): install it, or give its path$/,
    );
    expect(await problem(["/no/such/program"])).toBe(
      "wrong can be started: The program /no/such/program does not exist",
    );
  });

  it.runIf(process.platform === "linux")("is looked up in a removed directory", async () => {
    const script = 'd=$(mktemp -d) && cd "$d" && rmdir "$d" && exec "$0" "$@"';
    const { status, stdout } = spawnSync(
      "sh",
      ["-c", script, process.execPath, MAIN, "conform", "--", "cat"],
      { encoding: "utf8" },
    );
    expect(stdout).toMatch(/^wrong can be started: the current directory cannot be used: ENOENT/);
    expect(status).toBe(1);
  });

  it("is not executable", async () => {
    const file = script("#!/bin/sh\n", 0o644);
    expect(await problem([file])).toBe(
      `wrong can be started: The program ${file} may not be executed: \`chmod +x\` it, or name its interpreter first`,
    );
  });

  it("has no interpreter", async () => {
    expect(await problem([script("#!/no/such/interpreter\n", 0o755)])).toContain(
      "wrong can be started: the interpreter in its first line (#!) does not exist",
    );
  });
});

describe("the output", () => {
  it("contains the messages and the program's stderr, on stderr, with --verbose", async () => {
    const { code, stdout, stderr } = await conform("exits", [...ITEM, "--verbose"]);
    expect(stderr).toContain('-> {"id":"1","payload":"a"}\n');
    expect(stderr).toContain("\nTraceback: no such table\n");
    expect(stdout).toMatch(/^ok {4}can be started\n/);
    expect(code).toBe(1);
  });

  it.runIf(hasScript)("has colours on a terminal, but not with NO_COLOR", async () => {
    const words = [process.execPath, MAIN, "conform", "--", "/no/such"];
    const onTerminal = (env: Record<string, string>) =>
      spawnSync("script", ["-qec", words.join(" "), "/dev/null"], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
        env: { ...process.env, TERM: "xterm", NO_COLOR: "", ...env },
      }).stdout;
    expect(onTerminal({})).toContain("\u001B[31mwrong");
    expect(onTerminal({ NO_COLOR: "1" })).toMatch(/^wrong can be started/);
  });
});
