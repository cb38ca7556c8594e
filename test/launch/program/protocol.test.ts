/** The line protocol, against real programs: every possible answer, every breach, every way a program ends. */
import { once } from "node:events";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { CommandWorker, DeadChildError, ItemError, ItemTimeoutError, ProtocolError } from "forkmap";
import { expect, it, vi } from "vitest";
import { opened } from "../../support/opened.js";
import { rejection } from "../../support/rejection.js";
import { SOON } from "../../support/soon.js";
import { temporaryDirectory } from "../../support/temporary.js";
import { inEachLanguage, type Language } from "./languages.js";

type Any = any;

const ID = Symbol("the id of the request");

/** Returns the item that makes a program write exactly these bytes. */
function bytes(...parts: (string | Buffer | typeof ID)[]): string {
  const words = parts.flatMap((part) =>
    part === ID
      ? ["ID"]
      : Array.from(Buffer.from(part as string), (byte) => byte.toString(8).padStart(3, "0")),
  );
  return `bytes ${words.join(" ")}`;
}

inEachLanguage("a program", ({ argv }: Language) => {
  /** A pool of one program. */
  const pool = (options: object = {}) =>
    opened(new CommandWorker<string, Any>({ argv: argv("answers") }), { pool: 1, ...options });
  /** Returns an item's error; the items before and after it must succeed, the latter in a new program. */
  const failureOf = async (item: string, options: object = {}): Promise<Any> => {
    const [before, failed, after] = await pool({ batch: 1, ...options }).mapSettled([
      "where",
      item,
      "where",
    ]);
    expect(before).toMatchObject({ value: expect.stringMatching(/^0:1:/) });
    expect(after).toMatchObject({ value: expect.stringMatching(/^0:2:/) });
    expect(failed).toMatchObject({ status: "rejected" });
    return (failed as PromiseRejectedResult).reason;
  };

  it("returns the results of ok, with and without an id, and null if there is none", async () => {
    const items = [
      "ok one",
      "no-id two",
      "nothing",
      "ok ",
      "progress three",
      bytes('{"status":"ok","result":[1,{"a":null}]}\r\n'),
    ];
    const results = ["one", "two", null, "", "three", [1, { a: null }]];
    expect(await pool().mapProcesses(items)).toEqual(results);
  });

  it("serves many items and all calls with one process", async () => {
    const parallel = pool();
    const served = await parallel.mapProcesses(Array.from({ length: 100 }, () => "served"));
    expect(served).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    expect(await parallel.mapProcesses(["served"])).toEqual([101]);
    expect(parallel.stats()).toMatchObject({
      startMethod: "command",
      slots: [{ items: 101, restarts: 0 }],
    });
  });

  it('creates an error from "error", with class, stack and all other fields', async () => {
    const [bare, whole, after] = await pool().mapSettled([
      "error no such key",
      "error-whole oh",
      "served",
    ]);
    const error = (bare as Any).reason;
    expect(error).toBeInstanceOf(ItemError);
    expect(error.message).toMatch(/^Item 0 failed: Error: no such key \(num 0, pid \d+\)$/);
    expect(error.cause).toBeInstanceOf(Error);
    expect(error.cause).toMatchObject({
      name: "Error",
      message: "no such key",
      stack: "Error: no such key",
    });
    const { cause } = (whole as Any).reason;
    expect(cause).toMatchObject({
      name: "KeyError",
      message: "oh",
      stack: "line 1\nline 2",
      code: "E_KEY",
    });
    expect(after).toEqual({ status: "fulfilled", value: 3 });
  });

  it("delays a throttled item without using an attempt, and serves others in the meantime", async () => {
    const file = path.join(temporaryDirectory(), "throttled");
    const parallel = pool();
    const finished: number[] = [];
    const attempts: number[] = [];
    const results = await parallel.mapProcesses([`throttled ${file}`, "ok one", "ok two"], {
      onFinish: (_item, index, _result, { attempt }) => {
        finished.push(index);
        attempts.push(attempt);
      },
    });
    expect(results).toEqual(["after", "one", "two"]);
    expect(finished).toEqual([1, 2, 0]);
    expect(attempts).toEqual([1, 1, 1]);
    // Throttling counts as neither a success nor an error.
    expect(parallel.stats().slots).toMatchObject([{ items: 3, errors: 0 }]);
  });

  it("delays it for a minute if no seconds are given, and ends the delay with the call", async () => {
    const controller = new AbortController();
    const parallel = pool();
    const call = rejection(
      parallel.mapProcesses(["throttled-bare", "ok one"], {
        signal: controller.signal,
        onFinish: () => controller.abort(new Error("enough")),
      }),
    );
    expect((await call).message).toBe("enough");
    const stopped = parallel.mapProcesses(["throttled-bare", "error oh"]);
    expect((await rejection(stopped)).message).toContain("Item 1 failed: Error: oh");
  });

  it.each([
    [
      "a line that is not JSON",
      bytes("hello\n"),
      'wrote a line that is not JSON: "hello" (stdout is for answers only; print everything else to stderr)',
    ],
    ["an empty line", bytes("\n"), 'a line that is not JSON: ""'],
    ["half an object", bytes('{"status":"ok"\n'), "not JSON"],
    ["an array", bytes("[1]\n"), 'no JSON object: "[1]"'],
    ["null", bytes("null\n"), "no JSON object"],
    [
      "a line that is not UTF-8",
      bytes('{"status":"ok","result":"', Buffer.from([0xe9]), '"}\n'),
      "not UTF-8",
    ],
    ["no status", bytes('{"id":"', ID, '"}\n'), 'wrote an object that has no "status": "{'],
    [
      "an unknown status",
      bytes('{"status":"fine"}\n'),
      'the "status" "fine" where "ok", "error", "throttled" or "progress" is expected',
    ],
    [
      "another id",
      bytes('{"id":"x7","status":"ok"}\n'),
      /answered with the "id" "x7" where "\d+" was expected/,
    ],
    [
      "an id that is a number",
      bytes('{"id":', ID, ',"status":"ok"}\n'),
      "which has to be a string, as it was sent",
    ],
    ["an id that is null", bytes('{"id":null,"status":"ok"}\n'), 'the "id" null'],
    [
      "progress without an id",
      bytes('{"status":"progress"}\n'),
      'a line of "progress" without the "id"',
    ],
    ["progress of another", bytes('{"id":"x7","status":"progress"}\n'), 'the "id" "x7"'],
    [
      "an error without a message",
      bytes('{"status":"error"}\n'),
      'the "message" undefined, which has to be a string',
    ],
    [
      "a class that is not a string",
      bytes('{"status":"error","message":"m","class":1}\n'),
      "that is no string",
    ],
    [
      "seconds that are not a number",
      bytes('{"status":"throttled","retry_after_secs":"soon"}\n'),
      '"retry_after_secs" "soon" where a number from 0 to 2147483 is expected',
    ],
    [
      "negative seconds",
      bytes('{"status":"throttled","retry_after_secs":-1}\n'),
      '"retry_after_secs" -1',
    ],
    [
      "two answers",
      "twice ",
      "wrote more after its answer: one request has one answer, on one line",
    ],
    [
      "the beginning of another answer",
      bytes('{"status":"ok"}\n{"sta'),
      "wrote more after its answer",
    ],
    [
      "a result and a file",
      bytes('{"status":"ok","result":1,"result_file":"r"}\n'),
      'both a "result" and a "result_file"',
    ],
    [
      "a type without a file",
      bytes('{"status":"ok","result_type":"json"}\n'),
      'a "result_type" and no "result_file"',
    ],
    [
      "an unknown type",
      bytes('{"status":"ok","result_file":"r","result_type":"xml"}\n'),
      'the "result_type" "xml"',
    ],
    [
      "a file that is not a path",
      bytes('{"status":"ok","result_file":7}\n'),
      'the "result_file" 7, which is no path',
    ],
  ])("is killed for %s, and the item's error says so", async (_what, item, expected) => {
    const error = await failureOf(item);
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toBeInstanceOf(ItemError);
    expect(error).toMatchObject({
      name: "ProtocolError",
      code: "ERR_PARALLEL_PROTOCOL",
      index: 1,
      num: 0,
      attempt: 1,
    });
    expect(error.message).toMatch(/^Item 1 failed: its program /);
    expect(error.reason).toMatch(
      typeof expected === "string" ? new RegExp(escaped(expected)) : expected,
    );
    expect(error.message).toContain(error.reason);
  });

  it("is killed for an extra answer, with a warning if it is idle, otherwise by the next item", async () => {
    const parallel = pool();
    const file = path.join(temporaryDirectory(), "go");
    expect(await parallel.mapProcesses([`twice-when ${file}`])).toEqual([file]);
    const warned = once(process, "warning");
    writeFileSync(file, "");
    const [warning] = await warned;
    expect(warning).toMatchObject({ name: "ForkmapWarning", code: "FORKMAP_PROTOCOL" });
    expect(warning.message).toMatch(
      /^Between two items, its program wrote a line without being asked: .+ \(num 0, pid \d+\)$/,
    );
    await vi.waitFor(() => expect(parallel.stats().slots[0]!.pid).toBeUndefined(), SOON);
    const next = path.join(temporaryDirectory(), "go");
    const items = ["where", `twice-when ${next}`, "ok late", "where"];
    const [first, second, third, fourth] = await parallel.mapSettled(items, {
      batch: 1,
      onFinish: (_item, index) => {
        if (index === 1) writeFileSync(next, "");
      },
    });
    expect([first, second, fourth]).toMatchObject([
      { value: expect.stringMatching(/^0:2:/) },
      { value: next },
      { value: expect.stringMatching(/^0:3:/) },
    ]);
    expect((third as Any).reason.reason).toMatch(
      /answered with the "id" "\d+" where "\d+" was expected/,
    );
  });

  it("is killed for a line without end once it exceeds the limit", async () => {
    const error = await failureOf(`endless ${17 * 1024 * 1024}`);
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.reason).toContain("more than 16 MiB");
    expect(error.reason).toContain('"result_file"');
  });

  it("may answer with lines of several MiB", async () => {
    const [long] = await pool().mapProcesses([`endless ${3 * 1024 * 1024}`]);
    expect(long).toBe("x".repeat(3 * 1024 * 1024));
  });

  it("is reported with its last words on stderr", async () => {
    const error = await failureOf("stderr-then warming up");
    expect(error.message).toContain(", its last words on stderr: warming up (num 0, pid ");
  });

  it("is not waited for after it has closed stdout or stdin", async () => {
    const [stdout] = await pool().mapSettled(["close-stdout "]);
    expect((stdout as Any).reason).toMatchObject({
      name: "ProtocolError",
      reason: "its program has closed its stdout, and lives on",
    });
    // A closed stdin is detected only when something is written to it: until then the item may run for its whole timeout.
    const parallel = pool();
    const [stdin] = await parallel.mapSettled(["close-stdin "], { timeout: 1500 });
    expect((stdin as Any).reason).toBeInstanceOf(ItemTimeoutError);
    expect(await parallel.mapProcesses(["where"])).toEqual([expect.stringMatching(/^0:2:/)]);
  });

  it("fails its item when it dies during the item, with exit code, signal and last words", async () => {
    const died = await failureOf("die 3");
    expect(died).toBeInstanceOf(DeadChildError);
    expect(died).toMatchObject({ exitCode: 3, signal: undefined, index: 1 });
    expect(died.message).toContain(
      "exited with code 3 and no result, its last words on stderr: these are the last words",
    );
    expect(await failureOf("kill ")).toMatchObject({ exitCode: undefined, signal: "SIGKILL" });
  });

  it("fails no item when it ends between two", async () => {
    const items = Array.from({ length: 6 }, (_, i) => `end-early ${i}`);
    for (const batch of [1, "auto"]) {
      expect(await pool({ batch }).mapProcesses(items)).toEqual(["0", "1", "2", "3", "4", "5"]);
    }
  });

  it("is killed when an item takes longer than its timeout", async () => {
    const parallel = pool({ forceKillAfterDelay: 100 });
    expect(await parallel.mapProcesses(["where"])).toEqual([expect.stringMatching(/^0:1:/)]);
    const error = await rejection(parallel.mapProcesses(["hang "], { timeout: 1000 }));
    expect(error).toBeInstanceOf(ItemTimeoutError);
    expect(error).toMatchObject({ timeout: 1000, index: 0 });
    expect(await parallel.mapProcesses(["where"])).toEqual([expect.stringMatching(/^0:2:/)]);
  });

  it("is killed when the call is aborted", async () => {
    const controller = new AbortController();
    const parallel = pool();
    const items = ["ok one", "hang "];
    const call = parallel.mapProcesses(items, {
      signal: controller.signal,
      onFinish: () => controller.abort(new Error("enough")),
    });
    expect((await rejection(call)).message).toBe("enough");
    expect(await parallel.mapProcesses(["where"])).toEqual([expect.stringMatching(/^0:2:/)]);
  });

  it("gets another attempt with retries, after a breach as after a death", async () => {
    const error = await rejection(
      pool({ retries: 2, retryDelay: { min: 1 } }).mapProcesses([bytes("x\n")]),
    );
    expect(error).toMatchObject({ attempt: 3, name: "ProtocolError" });
  });

  it("may put long results into files of its scratch directory", async () => {
    const items = [
      "text-file one",
      "path-file two",
      "json-file three",
      "bytes-file ",
      "below-file four",
      "text-file five",
      `long-file ${5 * 1024 * 1024}`,
      "where",
    ];
    const parallel = pool();
    const results = await parallel.mapProcesses(items);
    const bytes = Uint8Array.of(1, 255, 0);
    expect(results.slice(0, 6)).toEqual(["one", "two", { n: [1, "three"] }, bytes, "four", "five"]);
    expect(results[6]).toBe("x".repeat(5 * 1024 * 1024));
    // Unwanted results are not read.
    expect(await parallel.eachProcess(items)).toBe(0);
  });

  it("fails the item whose file is not of the declared type, and continues", async () => {
    const [latin, after] = await pool().mapSettled(["latin-file ", "served"]);
    expect((latin as Any).reason.message).toContain(
      'gave a result that could not be read: Error: The result file is not UTF-8: answer with "result_type":"bytes"',
    );
    expect(after).toMatchObject({ value: 2 });
  });

  it("is killed for a result file that is outside its scratch directory, a link, or not a regular file", async () => {
    const outside = temporaryDirectory();
    writeFileSync(path.join(outside, "secret"), "secret");
    mkdirSync(path.join(outside, "real"));
    symlinkSync(path.join(outside, "real"), path.join(outside, "linked"));
    const refused = async (item: string) => {
      const error = await failureOf(item);
      expect(error).toBeInstanceOf(ProtocolError);
      expect(error.reason).toContain("expected a file in FORKMAP_SCRATCH");
      return error.reason as string;
    };
    expect(await refused(`name-file ${outside}/secret`)).toContain("which is outside");
    expect(await refused("name-file ../ledger")).toContain("which is outside");
    expect(await refused("name-file .")).toContain("which is outside");
    expect(await refused("name-file nothing")).toContain("which cannot be read (ENOENT)");
    expect(await refused(`link-file ${outside}/secret`)).toContain("which is a link");
    expect(await refused(`behind-link-file ${outside}`)).toContain("which is behind a link");
    expect(await refused(`hard-link-file ${outside}/secret`)).toContain(
      "which has another name as well",
    );
    expect(await refused("fifo-file ")).toContain("which is no regular file");
    expect(await refused("directory-file ")).toContain("which is a directory");
    // A link above the scratch directory is not the program's, and is accepted.
    const below = pool({ scratchRoot: path.join(outside, "linked") });
    expect(await below.mapProcesses(["text-file one"])).toEqual(["one"]);
  });

  it("receives long items in files, truncated to each item", async () => {
    const lengths = [70_000, 200_000, 80_000];
    const items = lengths.map((length) => "é\n".repeat(length / 2));
    const results = await pool({ batch: 1 }).mapProcesses(items);
    for (const [i, length] of lengths.entries()) {
      // é is two bytes, \n is two characters in JSON, and there are two quotes.
      expect(results[i]).toMatch(new RegExp(`^${2 * length + 2} /.*/item-\\d+$`));
    }
  });
});

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}
