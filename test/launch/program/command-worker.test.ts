/** CommandWorker: the options it accepts, the number of programs, what they receive, and how they end. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  CommandWorker,
  DeadChildError,
  ItemTimeoutError,
  LaunchError,
  Parallel,
  ProtocolError,
} from "forkmap";
import { describe, expect, it, vi } from "vitest";
import { isAlive, scratchDirectories } from "../../support/leftovers.js";
import { opened } from "../../support/opened.js";
import { program } from "../../support/program.js";
import { rejection } from "../../support/rejection.js";
import { fixture, runScript } from "../../support/run-script.js";
import { PROMISED, SOON } from "../../support/soon.js";
import { temporaryDirectory } from "../../support/temporary.js";
import { commandFixture, inEachLanguage, PYTHON } from "./languages.js";

type Any = any;

const SH = "/bin/sh";
const ANSWERS = [SH, commandFixture("answers.sh")];

function pool(options: object = {}, command: object = {}): Parallel<Any, Any> {
  const worker = new CommandWorker<Any, Any>({ argv: ANSWERS, ...command });
  return opened(worker, { pool: 1, ...options });
}

function wordsOf(file: string): string[][] {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => line.split(" "));
}

describe("a CommandWorker refuses", () => {
  it.each([
    [
      { argv: [] },
      'Expected `argv` of a CommandWorker to be a program and its arguments, such as ["ruby", "worker.rb"], got an empty array',
    ],
    [{ argv: "ruby worker.rb" }, 'got "ruby worker.rb" (a string)'],
    [{}, "got undefined"],
    [{ argv: [""] }, "got an empty name"],
    [
      { argv: ["ruby", 7] },
      "Expected `argv[1]` of a CommandWorker to be a string without NUL, got 7 (a number)",
    ],
    [{ argv: ["ru\0by"] }, "`argv[0]`"],
    [
      { argv: ["ruby"], cwd: "" },
      "Expected `cwd` of a CommandWorker to be a path that is not empty",
    ],
    [
      { argv: ["ruby"], env: { A: 1 } },
      "Expected `env` of a CommandWorker to be an object of strings, got an object",
    ],
    [
      { argv: ["ruby"], timeout: 5 },
      "Unknown option `timeout` of CommandWorker. There are: argv, env, cwd.",
    ],
    [undefined, "Expected { argv } of a CommandWorker, got undefined"],
  ])("%j", (command, expected) => {
    expect(() => new CommandWorker(command as Any)).toThrow(TypeError);
    expect(() => new CommandWorker(command as Any)).toThrow(expected);
  });

  it.each([
    [{ threads: 2 }, "The option `threads` is not for a CommandWorker"],
    [{ startMethod: "fork" }, "`startMethod`"],
    [{ module: "x.js" }, "`module`"],
    [{ execArgv: [] }, "`execArgv`"],
    [{ startupTimeout: 1 }, "`startupTimeout`"],
    [
      { limits: { memory: 1e9 } },
      '`limits` is not for a CommandWorker: begin `argv` with "prlimit"',
    ],
    [
      { pool: 0 },
      "Expected `pool` of a CommandWorker to be true, false or a whole number from 1, got 0",
    ],
  ])("%j, an option for Node's children", (options, expected) => {
    const make = () => new Parallel(new CommandWorker({ argv: ANSWERS }), options as Any);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(expected);
  });

  it.each(["preload", "setup", "process", "teardown"])("a subclass with %s", (name) => {
    class Tool extends CommandWorker {}
    Object.defineProperty(Tool.prototype, name, { value: () => {} });
    expect(() => new Tool({ argv: ["ruby"] })).toThrow(TypeError);
    expect(() => new Tool({ argv: ["ruby"] })).toThrow(
      `Tool cannot have ${name}(): a CommandWorker runs a program`,
    );
  });

  it("threads, limits of a call, and direct calls", async () => {
    const parallel = pool({ pool: false });
    expect((await rejection(parallel.mapThreads(["ok 1"]))).message).toBe(
      "A program cannot run in a thread: use run, mapProcesses or eachProcess",
    );
    const limits = { openFiles: 10 };
    expect((await rejection(parallel.mapProcesses(["ok 1"], { limits }))).message).toContain(
      "`limits`",
    );
    expect(() => new CommandWorker({ argv: ["ruby"] }).process("a", {} as never)).toThrow(
      "process() of a CommandWorker cannot be called directly: run ruby with",
    );
  });
});

describe("before the first item, an error names", () => {
  const start = async (command: object, options: object = {}) => {
    const parallel = pool(options, command);
    const error = await rejection(parallel.mapProcesses(["ok 1"]));
    expect(error).toBeInstanceOf(LaunchError);
    expect((await rejection(parallel.ready())).message).toBe(error.message);
    expect(parallel.stats().pids).toEqual([]);
    return error.message as string;
  };

  it("a program that does not exist", async () => {
    expect(await start({ argv: ["no-such-program"] })).toMatch(
      /^The program "no-such-program" of a CommandWorker was not found in PATH \(.+\): install it, or give its path in `argv`$/,
    );
    expect(await start({ argv: ["ls"], env: { PATH: "/nowhere" } })).toContain(
      '"ls" of a CommandWorker was not found in PATH (/nowhere)',
    );
    expect(await start({ argv: ["./no/such"] })).toBe(
      `The program ${path.resolve("no/such")} of a CommandWorker does not exist`,
    );
    expect(await start({ argv: ["/dev/null/x"] })).toBe(
      "The program /dev/null/x of a CommandWorker does not exist",
    );
  });

  it("a program that is not executable, is a directory, or has no interpreter", async () => {
    const directory = temporaryDirectory();
    const file = path.join(directory, "tool");
    writeFileSync(file, "#!/no/such/interpreter\n");
    if (process.getuid?.() !== 0) {
      chmodSync(file, 0o644);
    }
    expect(await start({ argv: [file] })).toBe(
      `The program ${file} of a CommandWorker may not be executed: \`chmod +x\` it, or name its interpreter first in \`argv\``,
    );
    expect(await start({ argv: ["tool"], env: { PATH: `/nowhere:${directory}` } })).toContain(
      `The program ${file} of a CommandWorker may not be executed`,
    );
    expect(await start({ argv: [directory] })).toBe(
      `The program ${directory} of a CommandWorker is not a file`,
    );
    chmodSync(file, 0o755);
    const error = await rejection(pool({}, { argv: [file] }).mapProcesses(["ok 1", "ok 2"]));
    expect(error).toBeInstanceOf(LaunchError);
    expect(error.message).toBe(
      `The program ${file} could not be started: the interpreter in its first line is not there`,
    );
  });

  it("a cwd that does not exist, or is not a directory", async () => {
    expect(await start({ cwd: "/no/such/directory" })).toBe(
      "The `cwd` /no/such/directory of a CommandWorker does not exist",
    );
    expect(await start({}, { cwd: "/no/such/directory" })).toContain("/no/such/directory");
    const file = path.join(temporaryDirectory(), "file");
    writeFileSync(file, "");
    expect(await start({ cwd: file })).toBe(
      `The \`cwd\` ${file} of a CommandWorker is not a directory`,
    );
  });

  it("a program that was removed after the start", async () => {
    const file = path.join(temporaryDirectory(), "tool");
    copyFileSync("/bin/sh", file);
    const parallel = pool({}, { argv: [file, ...ANSWERS.slice(1)] });
    expect(await parallel.mapProcesses(["ok 1"])).toEqual(["1"]);
    rmSync(file);
    // The running program is not affected.
    expect(await parallel.mapProcesses(["ok 2"])).toEqual(["2"]);
    await parallel.mapSettled(["die 1"]);
    const error = await rejection(parallel.mapProcesses(["ok 3"]));
    expect(error).toBeInstanceOf(LaunchError);
    expect(error.message).toBe(`The program ${file} of a CommandWorker does not exist`);
  });

  it("nothing once the program exists", async () => {
    const directory = temporaryDirectory();
    const parallel = pool({}, { argv: ["./late"], cwd: directory });
    await rejection(parallel.ready());
    writeFileSync(
      path.join(directory, "late"),
      readFileSync(commandFixture("answers.sh"), "utf8").replace(/^/, "#!/bin/sh\n"),
    );
    chmodSync(path.join(directory, "late"), 0o755);
    await parallel.ready();
    expect(await parallel.mapProcesses(["ok 1"])).toEqual(["1"]);
  });

  it("nothing if there are no items", async () => {
    expect(await pool({}, { argv: ["no-such-program"] }).mapProcesses([])).toEqual([]);
  });
});

describe("a program receives", () => {
  it("its num, generation and a scratch directory of its own, in the configured directory", async () => {
    const cwd = realpathSync(temporaryDirectory());
    const where = async (parallel: Parallel<Any, Any>) =>
      (await parallel.mapProcesses(["where"]))[0].split(":") as string[];
    const parallel = pool({ maxItemsPerChild: 1 }, { cwd });
    const first = await where(parallel);
    const second = await where(parallel);
    expect([first[0], first[1], first[3]]).toEqual(["0", "1", cwd]);
    expect([second[0], second[1]]).toEqual(["0", "2"]);
    expect(path.dirname(second[2])).toBe(path.dirname(first[2]));
    expect(second[2]).not.toBe(first[2]);
    const [last] = await pool({ cwd }).mapProcesses(["where"]);
    expect(last).toMatch(new RegExp(`:${cwd}$`));
  });

  it("the environment of the worker, of Parallel, or of this program", async () => {
    process.env["FORKMAP_OF_TEST"] = "inherited";
    const look = async (options: object, command: object) =>
      (await pool(options, command).mapProcesses(["variable FORKMAP_OF_TEST"]))[0];
    expect(await look({}, {})).toBe("inherited");
    const PATH = process.env["PATH"];
    expect(await look({ env: { PATH, FORKMAP_OF_TEST: "of Parallel" } }, {})).toBe("of Parallel");
    const both = { env: { PATH, FORKMAP_OF_TEST: "of Parallel" } };
    expect(await look(both, { env: { PATH, FORKMAP_OF_TEST: "its own" } })).toBe("its own");
    expect(await look(both, { env: { PATH, FORKMAP_OF_TEST: undefined } })).toBe("unset");
    delete process.env["FORKMAP_OF_TEST"];
  });

  it("its arguments unchanged: no shell interprets them", async () => {
    const script = 'read -r line; printf \'{"status":"ok","result":"%s|%s"}\\n\' "$1" "$2"';
    const parallel = pool({}, { argv: [SH, "-c", script, "sh", "a b; $HOME", "*"] });
    expect(await parallel.mapProcesses(["x"])).toEqual(["a b; $HOME|*"]);
  });
});

describe("the number of programs", () => {
  const together = async (parallel: Parallel<Any, Any>, count: number, more = 0) => {
    const file = path.join(temporaryDirectory(), "go");
    const items = Array.from({ length: count + more }, () => `until ${file}`);
    const call = parallel.mapProcesses(items);
    const busy = () => parallel.stats().slots.filter(({ pid }) => pid !== undefined).length;
    await vi.waitFor(() => expect(busy()).toBe(count), SOON);
    writeFileSync(file, "");
    await call;
    return parallel.stats().slots.length;
  };

  it("is that of pool, concurrency, or processors", async () => {
    expect(await together(pool({ pool: 3 }), 3, 3)).toBe(3);
    expect(await together(pool({ pool: undefined, concurrency: 3 }), 3, 3)).toBe(3);
    process.env["PARALLEL_PROCESSOR_COUNT"] = "4";
    const parallel = pool({ pool: undefined });
    delete process.env["PARALLEL_PROCESSOR_COUNT"];
    expect(await together(parallel, 4, 3)).toBe(4);
  });

  it("is that of the items without a pool", async () => {
    const parallel = pool({ pool: false, concurrency: 3 });
    const served = await parallel.mapProcesses(Array.from({ length: 7 }, () => "served"));
    expect(served).toEqual([1, 1, 1, 1, 1, 1, 1]);
    expect(await together(parallel, 3)).toBe(3);
    const file = path.join(temporaryDirectory(), "throttled");
    expect(await parallel.mapProcesses([`throttled ${file}`, "ok 1"])).toEqual(["after", "1"]);
    const [ok, died, broke] = await parallel.mapSettled(["ok 1", "die 3", "stderr-then oh"]);
    expect(ok).toEqual({ status: "fulfilled", value: "1" });
    expect((died as Any).reason).toMatchObject({ name: "DeadChildError", exitCode: 3 });
    expect((broke as Any).reason.message).toContain("its last words on stderr: oh");
    expect(await parallel.mapProcesses(["text-file one", "bytes-file ", "where"])).toMatchObject([
      "one",
      Uint8Array.of(1, 255, 0),
      /:1:/,
    ]);
  });

  it("follows maxItemsPerChild, one program after the other", async () => {
    const parallel = pool({ maxItemsPerChild: 3 });
    const items = Array.from({ length: 7 }, () => "served");
    expect(await parallel.mapProcesses(items)).toEqual([1, 2, 3, 1, 2, 3, 1]);
    expect(await parallel.mapProcesses(["served"])).toEqual([2]);
  });

  it.skipIf(PYTHON === undefined)("follows maxRss, one program after the other", async () => {
    const argv = [PYTHON!, commandFixture("grows.py")];
    const parallel = pool({ maxRss: 100 * 1024 * 1024, batch: 1 }, { argv });
    const pids = await parallel.mapProcesses([1, 1, 120, 1, 1]);
    expect(new Set(pids).size).toBe(2);
    expect([pids[0], pids[1], pids[2]]).toEqual([pids[2], pids[2], pids[2]]);
  });

  it("does not matter to an item if one is idle: it does not wait for a busy one", async () => {
    const file = path.join(temporaryDirectory(), "go");
    const parallel = pool({ pool: 2 });
    const call = parallel.mapProcesses([`until ${file}`]);
    await vi.waitFor(() => expect(parallel.stats().slots[0]?.pid).toBeDefined(), SOON);
    const others = await parallel.mapProcesses(["where", "where", "where"], { batch: 1 });
    expect(others).toMatchObject([/^1:1:/, /^1:1:/, /^1:1:/]);
    writeFileSync(file, "");
    await call;
  });
});

describe("a program that", () => {
  it("never reads fails its items with a timeout, however long they are", async () => {
    const parallel = pool({ timeout: 1500, stopOnError: false }, { argv: ["sleep", "1000"] });
    const error = await rejection(
      parallel.mapProcesses(["short", "x".repeat(60_000), "x".repeat(500_000)]),
    );
    expect(error.errors).toHaveLength(3);
    for (const each of error.errors) expect(each).toBeInstanceOf(ItemTimeoutError);
  });

  it("never reads is not sent more than it can hold: the other items go to its successor", async () => {
    const parallel = pool({ timeout: 1500, fibers: 1000 }, { argv: ["sleep", "1000"] });
    const items = Array.from({ length: 12 }, () => "x".repeat(60_000));
    const settled = await parallel.mapSettled(items);
    // The first of the items that were sent times out; the others in flight are lost with it.
    const names = new Set(settled.map((each: Any) => each.reason.name));
    expect(names).toContain("ItemTimeoutError");
    names.delete("ItemTimeoutError");
    names.delete("DeadChildError");
    expect([...names]).toEqual([]);
    expect(parallel.stats().slots[0]!.restarts).toBeGreaterThan(0);
  });

  it.each(["batch", "one"])("ends before it reads fails its item (%s)", async (how) => {
    const argv = [SH, "-c", "echo not today >&2; exit 7"];
    const settled = await pool({ batch: how === "one" ? 1 : "auto" }, { argv }).mapSettled([
      "a",
      "b",
    ]);
    for (const each of settled as Any[]) {
      expect(each.reason).toBeInstanceOf(DeadChildError);
      expect(each.reason).toMatchObject({ exitCode: 7 });
      expect(each.reason.message).toContain(
        "exited with code 7 and no result, its last words on stderr: not today",
      );
    }
  });

  it("prints before the first request fails with an error that says so", async () => {
    const argv = [SH, "-c", "echo Ready.; cat"];
    const error = await rejection(pool({}, { argv }).mapProcesses(["a"]));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.reason).toContain(
      'not JSON: "Ready." (stdout is for answers only; print everything else to stderr)',
    );
  });

  it("echoes its requests fails with an error that says so", async () => {
    const error = await rejection(pool({}, { argv: ["cat"] }).mapProcesses(["a"]));
    expect(error.reason).toBe(
      'its program wrote an object that has no "status": "{\\"id\\":\\"1\\",\\"payload\\":\\"a\\"}"',
    );
  });

  it.skipIf(PYTHON === undefined)(
    "handles several items at the same time with fibers, and may answer in any order",
    async () => {
      const argv = [PYTHON!, commandFixture("parallel.py")];
      const parallel = pool({ fibers: 5 }, { argv });
      expect(await parallel.mapProcesses([5, 5, 5, 5, 5, 2, 2])).toEqual([5, 5, 5, 5, 5, 2, 2]);
    },
  );

  it("omits ids while several requests are in flight violates the protocol", async () => {
    const file = path.join(temporaryDirectory(), "go");
    writeFileSync(file, "");
    const items = Array.from({ length: 4 }, () => "no-id 1");
    const error = await rejection(pool({ fibers: 4 }).mapProcesses(items));
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.reason).toMatch(
      /left out the "id" of its answer while [234] requests were in flight/,
    );
  });
});

describe("stderr of a program", () => {
  const run = (mode: string) =>
    runScript(fixture("programs/commands-output.mjs"), { args: [mode] });

  it("is forwarded immediately, stdout is not", async () => {
    const { stdout, stderr, code } = await run("inherit");
    expect({ stdout, stderr, code }).toEqual({
      stdout: "one,two\n",
      stderr: "one\ntwo\n",
      code: 0,
    });
  });

  it("is tagged, or collected, per item", async () => {
    expect(await run("tag")).toMatchObject({
      stdout: "one,two\n",
      stderr: "0: one\n1: two\n",
      code: 0,
    });
    const collected = await run("collect");
    expect(collected).toMatchObject({
      stdout: '["one\\n","two\\n"]\none,two\n',
      stderr: "",
      code: 0,
    });
  });
});

describe("all features of calls:", () => {
  it("listeners are notified of breaches and of waits", async () => {
    const outcomes: string[] = [];
    const onItem = (message: Any) => void outcomes.push(message.outcome);
    subscribe("forkmap:item", onItem);
    const file = path.join(temporaryDirectory(), "throttled");
    await pool().mapSettled([`throttled ${file}`, "stderr-then oh", "die 1", "ok 1"]);
    unsubscribe("forkmap:item", onItem);
    expect(outcomes.toSorted()).toEqual(["breach", "dead", "ok", "ok", "throttled"]);
  });

  it("streams, hooks, dedupe and a journal work", async () => {
    const parallel = pool({ pool: 2 });
    const got: string[] = [];
    for await (const result of parallel.stream(["ok 1", "ok 2", "ok 3"])) got.push(result);
    expect(got).toEqual(["1", "2", "3"]);
    const pids = await parallel.mapProcesses(["served", "served"], { dedupe: true });
    expect(pids[0]).toBe(pids[1]);
    const journal = path.join(temporaryDirectory(), "journal");
    const items = ["served", "bytes-file ", "json-file x"];
    const first = await parallel.mapProcesses(items, { journal });
    expect(first.slice(1)).toEqual([Uint8Array.of(1, 255, 0), { n: [1, "x"] }]);
    expect(await pool().mapProcesses(items, { journal })).toEqual(first);
    const other = pool({}, { argv: [...ANSWERS, "another"] });
    expect((await rejection(other.mapProcesses(items, { journal }))).message).toContain("journal");
  });
});

describe("at the end of its pool a program", () => {
  const ends = (options: object, ...args: string[]) =>
    pool(options, { argv: [SH, commandFixture("ends.sh"), ...args] });

  it("receives SIGTERM, with its whole process group", async () => {
    const notes = path.join(temporaryDirectory(), "notes");
    const parallel = ends({}, notes);
    const [[leader, child]] = await parallel.mapProcesses(["x"]);
    expect([isAlive(leader), isAlive(child)]).toEqual([true, true]);
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => void warnings.push(warning);
    process.on("warning", onWarning);
    await parallel.close();
    await vi.waitFor(() => expect([isAlive(leader), isAlive(child)]).toEqual([false, false]), SOON);
    expect(wordsOf(notes)).toContainEqual(["TERM", String(leader)]);
    process.off("warning", onWarning);
    // Its farewell on stdout causes no warning.
    expect(warnings).toEqual([]);
  });

  it("receives SIGKILL if it does not end on SIGTERM, with its whole process group", async () => {
    const notes = path.join(temporaryDirectory(), "notes");
    const parallel = ends({ forceKillAfterDelay: 300 }, notes, "ignore");
    const [[leader, child]] = await parallel.mapProcesses(["x"]);
    const began = performance.now();
    await parallel.close();
    expect(performance.now() - began).toBeGreaterThan(290);
    await vi.waitFor(() => expect([isAlive(leader), isAlive(child)]).toEqual([false, false]), SOON);
    expect(wordsOf(notes)).toContainEqual(["end", "of", "input", String(leader)]);
  });

  it("leaves none of its processes behind", async () => {
    const parallel = pool();
    const [left] = await parallel.mapProcesses(["leaves"]);
    expect(isAlive(left)).toBe(true);
    await parallel.close();
    await vi.waitFor(() => expect(isAlive(left)).toBe(false), SOON);
  });

  it("leaves no files, even when it is killed", async () => {
    const parallel = pool();
    await parallel.mapProcesses(["where", "stderr x"]);
    await parallel.mapSettled(["link-file /etc/passwd", "where"]);
    const [scratch] = scratchDirectories();
    expect(scratch).toBeDefined();
    await parallel.close();
    expect(scratchDirectories()).toEqual([]);
  });

  it("does not keep this program alive, and ends with it", async () => {
    const { code, stdout } = await program("commands.mjs", [
      path.join(temporaryDirectory(), "notes"),
      "leaves",
    ]).ended;
    expect(code).toBe(0);
    const pids = JSON.parse(stdout) as number[];
    expect(pids).toHaveLength(4);
    await vi.waitFor(() => expect(pids.filter(isAlive)).toEqual([]), PROMISED);
  });

  it("ends when this program is killed, and its scratch directory is removed", async () => {
    const directory = temporaryDirectory();
    const notes = path.join(directory, "notes");
    mkdirSync(path.join(directory, "tmp"));
    const running = program("commands.mjs", [notes]);
    // Not as soon as they have begun: at that moment nobody may know the pid of the second one.
    await vi.waitFor(() => expect(wordsOf(notes)).toContainEqual(["answered"]), SOON);
    const leaders = wordsOf(notes).flatMap(([, pid]) => (pid === undefined ? [] : [Number(pid)]));
    expect(leaders).toHaveLength(2);
    running.kill("SIGKILL");
    await vi.waitFor(() => expect(leaders.filter(isAlive)).toEqual([]), PROMISED);
    const left = () =>
      readdirSync(tmpdir()).filter((name) => name.startsWith(`forkmap-${running.pid}-`));
    await vi.waitFor(() => expect(left()).toEqual([]), PROMISED);
  });
});

inEachLanguage("many items", ({ argv }) => {
  it("results are in order with several programs, with and without batches and fibers", async () => {
    const items = Array.from({ length: 2000 }, (_, i) => `ok ${i}`);
    const expected = items.map((_, i) => String(i));
    for (const options of [{}, { batch: 1 }, { fibers: 16 }, { batch: 5, fibers: 3 }]) {
      const parallel = pool({ pool: 3, ...options }, { argv: argv("answers") });
      expect(await parallel.mapProcesses(items)).toEqual(expected);
    }
  });
});
