/** The libraries of examples/workers, used as a user does: copied beside a program that a `CommandWorker` runs. */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { CommandWorker, ItemError, type ParallelOptions } from "forkmap";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { opened } from "../../support/opened.js";
import { rejection } from "../../support/rejection.js";
import { SOON } from "../../support/soon.js";
import { temporaryDirectory } from "../../support/temporary.js";

const LIBRARIES = fileURLToPath(new URL("../../../examples/workers", import.meta.url));
const FIXTURES = fileURLToPath(new URL("../../fixtures/workers", import.meta.url));

/** Without the variable that would hide a missing flush. */
const ENVIRONMENT = { ...process.env, PYTHONUNBUFFERED: undefined };

interface Language {
  readonly name: string;
  readonly library: string;
  /** File extension of its programs. */
  readonly ending: string;
  /** Interpreter and arguments; `undefined` if it is not installed. */
  readonly interpreter: readonly string[] | undefined;
  /** Its errors for the fixture's failure, for a file that does not exist, and for a result that is not JSON. */
  readonly errors: { readonly bad: object; readonly noFile: object; readonly odd?: object };
}

/** The first python3 in the PATH may be a version manager, which delays each start. */
const python = spawnSync("python3", ["-c", "import sys; print(sys.executable)"], {
  encoding: "utf8",
});

const LANGUAGES: readonly Language[] = [
  {
    name: "Python",
    library: "forkmap_worker.py",
    ending: "py",
    // -B: does not write bytecode files beside the library.
    interpreter: python.status === 0 ? [python.stdout.trim(), "-B"] : undefined,
    errors: {
      bad: {
        name: "ValueError",
        message: 'nö "good"',
        stack: expect.stringMatching(/^Traceback[^]*behaves\.py", line \d+, in fail[^]*nö "good"/),
      },
      noFile: { name: "FileNotFoundError", message: expect.stringContaining("/nöt there") },
      odd: { name: "TypeError", message: "Object of type set is not JSON serializable" },
    },
  },
  {
    name: "Ruby",
    library: "forkmap_worker.rb",
    ending: "rb",
    interpreter: installed("ruby", ["--version"]),
    errors: {
      bad: {
        name: "ArgumentError",
        message: 'nö "good"',
        stack: expect.stringMatching(
          /behaves\.rb:\d+:in .*fail': nö "good" \(ArgumentError\)\n\tfrom/,
        ),
      },
      noFile: { name: "Errno::ENOENT", message: expect.stringContaining("/nöt there") },
      odd: { name: "JSON::GeneratorError", message: expect.stringContaining("NaN") },
    },
  },
  ...["dash", "bash", "busybox"].map((name) => ({
    name,
    library: "forkmap-worker.sh",
    ending: "sh",
    interpreter: installed(name, ["-c", ":"]),
    errors: {
      bad: { name: "ExitError", message: "status 3", exit_code: 3, stack: "ExitError: status 3" },
      noFile: { name: "ExitError", exit_code: expect.any(Number) },
    },
  })),
];

function installed(name: string, args: readonly string[]): readonly string[] | undefined {
  const argv = name === "busybox" ? [name, "sh"] : [name];
  return spawnSync(name, [...argv.slice(1), ...args]).status === 0 ? argv : undefined;
}

/** The folder that contains the libraries and the fixtures. */
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "test-of-forkmap-libraries-"));
  for (const from of [LIBRARIES, FIXTURES]) cpSync(from, folder, { recursive: true });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

it.each([...new Set(LANGUAGES.map(({ library }) => library))])("%s is short", (library) => {
  const lines = readFileSync(path.join(LIBRARIES, library), "utf8").split("\n");
  expect(lines.length - 1).toBeLessThan(45);
});

for (const { name, ending, interpreter, errors } of LANGUAGES) {
  const isShell = ending === "sh";

  describe.skipIf(!interpreter)(name, () => {
    const argvOf = (program: string, args: readonly string[]) => [
      ...interpreter!,
      path.join(folder, `${program}.${ending}`),
      ...args,
    ];

    /** Runs the fixture with the given behaviour, in a single program by default. */
    function behaving(
      behaviour: string | readonly string[],
      { pool = 1, env, ...options }: ParallelOptions<unknown, unknown> = {},
    ) {
      const argv = argvOf("behaves", [behaviour].flat());
      return opened(new CommandWorker({ argv }), {
        pool,
        env: { ...ENVIRONMENT, LC_ALL: "C", ...env },
        ...options,
      });
    }

    /** Runs the fixture without a `Parallel`; returns its output and how it ended. */
    function alone(...args: string[]) {
      const [program, ...rest] = argvOf("behaves", args);
      const scratch = temporaryDirectory();
      const child = spawn(program!, rest, { env: { ...ENVIRONMENT, FORKMAP_SCRATCH: scratch } });
      const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
      return {
        child,
        scratch,
        ended: ended.then(([stdout, stderr, end]) => ({ stdout, stderr, end: end as unknown[] })),
      };
    }

    it.each(["C", "C.UTF-8"])(
      "returns strings unchanged if LC_ALL is set to %s",
      async (locale) => {
        const items = [
          "",
          " ",
          "plain",
          "\"quoted\", 'too', `as`, $(well)",
          "two\nlines\n\n",
          "\n",
          "\r\n\t\b\f\v\u0001\u001b[1m\u007f",
          "back\\slash\\n \\\\ \\u0041 \\",
          "\\",
          '{"id":"9","payload":"x"}',
          "-n %s *",
          "ünï cödé, 漢字, \u{1F98A}\u{1F468}\u200D\u{1F469}\u200D\u{1F467}, \u2028",
        ];
        const parallel = behaving("echo", { env: { LC_ALL: locale } });
        expect(await parallel.mapProcesses(items)).toEqual(items);
      },
    );

    it("reads escapes that forkmap does not write", async () => {
      const { child, scratch, ended } = alone("echo");
      child.stdin.end(String.raw`{"id":"7","payload":"\u00e9\u0041\/\u001B"}` + "\n");
      const { stdout, stderr, end } = await ended;
      const answer = JSON.parse(stdout) as Record<string, string>;
      const { result_file: file } = answer;
      const result = file ? readFileSync(path.join(scratch, file), "utf8") : answer["result"];
      expect(result).toBe("éA/\u001b");
      expect({ id: answer["id"], stderr, end }).toEqual({ id: "7", stderr: "", end: [0, null] });
    });

    it("returns long strings unchanged, with items and results in files", async () => {
      const items = ["x", "é", "\u{1F98A}", '"\\\n'].map((each) =>
        each.repeat(100_000 / each.length),
      );
      const parallel = behaving("echo");
      const results = await parallel.mapProcesses(["short", ...items, "short"]);
      expect(results.map((each) => (each as string).length)).toEqual([
        5,
        ...items.map(({ length }) => length),
        5,
      ]);
      expect(results.slice(1, -1).every((each, i) => each === items[i])).toBe(true);
    });

    it("returns results that are longer than a line may be", async () => {
      const item = `añ\u{1F98A}${"x".repeat(1000)}`;
      const [result] = await behaving("repeat").mapProcesses([item]);
      expect(result === item.repeat(20_000)).toBe(true);
    });

    const values = [
      null,
      true,
      false,
      0,
      -1.5,
      1e21,
      [],
      {},
      [1, ["zwei", null]],
      { item_file: "none", payload: { 'k"ey\n': "välue\\" } },
      { long: "ö".repeat(70_000) },
    ];

    it("returns other values unchanged", async () => {
      const parallel = behaving("echo", { env: { RESULT_TYPE: "json" } });
      expect(await parallel.mapProcesses(values)).toEqual(values);
    });

    it.runIf(isShell)("receives other values as JSON", async () => {
      expect(await behaving("echo").mapProcesses(values)).toEqual(
        values.map((each) => JSON.stringify(each)),
      );
    });

    it("receives bytes and returns them unchanged, of any length", async () => {
      const items = [0, 1, 100_000].map((length) => new Uint8Array(length).fill(200));
      const parallel = behaving(isShell ? "contents" : "echo", { env: { RESULT_TYPE: "bytes" } });
      const results = await parallel.mapProcesses(items);
      expect(results).toStrictEqual(items);
    });

    it("answers with an error, and continues", async () => {
      const outcomes = await behaving("fail").mapSettled(["a", "bad", "b", "bad", "c"]);
      const bad = { status: "rejected", reason: { cause: errors.bad } };
      const good = (value: string) => ({ status: "fulfilled", value });
      expect(outcomes).toMatchObject([good("a"), bad, good("b"), bad, good("c")]);
      const { reason } = outcomes[1] as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(ItemError);
      const pids = outcomes.flatMap((each) => (each.status === "rejected" ? each.reason.pid : []));
      expect(new Set(pids).size).toBe(1);
    });

    it("continues after a text that is not valid Unicode", async () => {
      const outcomes = await behaving("pid").mapSettled(["a", "\ud800", "b"]);
      const [before, , after] = outcomes as PromiseFulfilledResult<string>[];
      expect(before!.value).toMatch(/^\d+$/);
      expect(after!.value).toBe(before!.value);
    });

    it.skipIf(!errors.odd)("answers with an error if a result cannot be JSON", async () => {
      const { cause } = await rejection<ItemError>(behaving("odd").mapProcesses([1]));
      expect(cause).toMatchObject(errors.odd!);
    });

    it("requests a throttled item again", async () => {
      const file = path.join(temporaryDirectory(), "seen");
      const parallel = behaving("throttle");
      expect(await parallel.mapProcesses([file, file])).toEqual(["now", "now"]);
      expect(existsSync(file)).toBe(true);
    });

    it("keeps printing and reading of the user's code out of the protocol", async () => {
      const stderr: (string | undefined)[] = [];
      const parallel = behaving("stray", { output: "collect" });
      const items = ["a", "b", "c"];
      const results = await parallel.mapProcesses(items, {
        onFinish: (_item, index, _result, info) => void (stderr[index] = info.stderr),
      });
      expect(results).toEqual(items);
      // The output of a shell's handler is its result, so only the program itself prints here, once.
      expect(stderr[0]).toBe("stray\n".repeat(isShell ? 1 : 3));
    });

    it.each([1, 4])("serves many items with one process, %i at a time", async (fibers) => {
      const pids = await behaving("pid", { fibers }).mapProcesses(
        Array.from({ length: 100 }, (_, i) => i),
      );
      expect(new Set(pids).size).toBe(1);
      expect(pids[0]).toMatch(/^\d+$/);
    });

    it.skipIf(isShell)("returns bytes", async () => {
      const [all, none] = await behaving("raw").mapProcesses(["all", "none"]);
      expect(all).toEqual(Uint8Array.from({ length: 256 }, (_, i) => i));
      expect(none).toEqual(new Uint8Array());
    });

    it.runIf(isShell)("returns bytes if that is configured", async () => {
      const parallel = behaving("echo", { env: { RESULT_TYPE: "bytes" } });
      const [bytes, none] = await parallel.mapProcesses(["é\n", ""]);
      expect(bytes).toEqual(Uint8Array.of(0xc3, 0xa9, 0x0a));
      expect(none).toEqual(new Uint8Array());
    });

    describe("at its end", () => {
      const notesOf = (file: string) => (existsSync(file) ? readFileSync(file, "utf8") : "");
      const files = () => {
        const directory = temporaryDirectory();
        return ["notes", "awaited", "stderr"].map((each) => path.join(directory, each));
      };

      it("runs its clean-up, and prints nothing", async () => {
        const [notes, awaited, stderr] = files() as [string, string, string];
        writeFileSync(awaited, "");
        const argv = argvOf("behaves", ["tidy", notes, awaited]);
        const command = ["sh", "-c", 'exec "$@" 2>"$0"', stderr, ...argv];
        const parallel = opened(new CommandWorker({ argv: command }), {
          pool: 1,
          env: ENVIRONMENT,
        });
        expect(await parallel.mapProcesses(["a", "b"])).toEqual(["a", "b"]);
        expect(notesOf(notes)).toBe("");
        await parallel.close();
        expect(notesOf(notes)).toBe("tidying\ntidied\nat exit\n");
        expect(readFileSync(stderr, "utf8")).toBe("");
      });

      it.each(["its input ends", "SIGTERM comes"])(
        "is not interrupted by SIGTERM once %s",
        async (why) => {
          const [notes, awaited] = files() as [string, string];
          const { child, ended } = alone("tidy", notes, awaited);
          child.stdin.write('{"id":"1","payload":"a"}\n');
          await once(child.stdout, "readable");
          if (why === "its input ends") child.stdin.end();
          else child.kill("SIGTERM");
          await vi.waitFor(() => expect(notesOf(notes)).toBe("tidying\n"), SOON);
          child.kill("SIGTERM");
          writeFileSync(awaited, "");
          const { stdout, stderr, end } = await ended;
          expect(JSON.parse(stdout)).toMatchObject({ id: "1", status: "ok" });
          expect({ stderr, end }).toEqual({ stderr: "", end: [0, null] });
          expect(notesOf(notes)).toBe("tidying\ntidied\nat exit\n");
        },
      );
    });

    it("digests files", async () => {
      const file = path.join(temporaryDirectory(), 'a "file"\\ nämed so');
      const content = Buffer.alloc(3_000_000, "content");
      writeFileSync(file, content);
      const parallel = opened(new CommandWorker({ argv: argvOf("digest", []) }), {
        env: { ...ENVIRONMENT, LC_ALL: "C" },
        output: "collect",
      });
      const outcomes = await parallel.mapSettled([file, `${folder}/nöt there`, file]);
      const value = createHash("sha256").update(content).digest("hex");
      const done = { status: "fulfilled", value };
      const failed = { status: "rejected", reason: { cause: errors.noFile } };
      expect(outcomes).toMatchObject([done, failed, done]);
    });
  });
}
