import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { JournalError } from "../../src/errors.js";
import { itemKey } from "../../src/journal/item-key.js";
import { Journal, type JournalEntry } from "../../src/journal/journal.js";
import { ownerMark } from "../../src/system/owner.js";
import { afterEach, describe, expect, it, vi } from "vitest";
import { IDENTITY, resultOf } from "../fixtures/recorded.mjs";
import { program } from "../support/program.js";
import { rejection } from "../support/rejection.js";
import { fixture } from "../support/run-script.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const MIB = 1024 * 1024;
const opened: Journal[] = [];

afterEach(async () => {
  for (const journal of opened.splice(0)) await journal.close();
});

async function open(directory: string, identity = IDENTITY): Promise<Journal> {
  const journal = await Journal.open(directory, identity as never);
  opened.push(journal);
  return journal;
}

/** Records results of the items 0, 1, ... in a journal and closes it. */
async function record(directory: string, results: readonly unknown[]): Promise<void> {
  const journal = await open(directory);
  journal.add(results.map((result, item) => ({ key: itemKey(item), result })));
  await journal.close();
}

/** Returns the results in a journal of the items 0, 1, ... up to the first that is missing. */
async function recorded(directory: string): Promise<unknown[]> {
  const journal = await open(directory);
  const results: unknown[] = [];
  for (;;) {
    const found = journal.find(itemKey(results.length));
    if (!found) break;
    results.push(found.result);
  }
  await journal.close();
  return results;
}

const log = (directory: string) => path.join(directory, "journal");

describe("a journal", () => {
  it("is created with missing parent directories, for this user only", async () => {
    const above = path.join(temporaryDirectory(), "runs");
    const directory = path.join(above, "one");
    const umask = process.umask(0);
    await record(directory, ["short", "x".repeat(MIB)]);
    process.umask(umask);
    const modes = [
      above,
      directory,
      ...readdirSync(directory).map((name) => `${directory}/${name}`),
    ];
    expect(modes.map((each) => statSync(each).mode & 0o7777)).toEqual([0o700, 0o700, 0o600, 0o600]);
  });

  it("holds every result byte for byte, of any length", async () => {
    const texts = [
      "",
      "\0",
      "a\0b\u0001\r\n\u2028\u2029\u007f",
      "Привет, 世界, \u{1f98a} e\u0301",
      '"\\u0041"\\',
      "\ufeffa\ufeff",
      "a\ud800b\udc00c",
    ];
    const results = [
      ...texts,
      // Some of these still fit in their line, others do not.
      ...texts.flatMap((text) => [text.repeat(9000), text.repeat(100_000)]),
      ...[64 * 1024, 64 * 1024 + 1].flatMap((length) => [
        "\0".repeat(length),
        "\ud800".repeat(length),
      ]),
      "aß\0".repeat((10 * MIB) / 3),
      ...[0, 1, 1000, 64 * 1024, 64 * 1024 + 1, 3 * MIB].map((length) =>
        Uint8Array.from({ length }, (_, i) => i % 256),
      ),
    ];
    const directory = path.join(temporaryDirectory(), "journal");
    await record(directory, results);
    const found = await recorded(directory);
    expect(found.length).toBe(results.length);
    for (const [i, result] of found.entries()) expect(isSame(result, results[i])).toBe(true);
  });

  it("holds JSON values unchanged, and undefined results", async () => {
    const simple = [null, true, 0, -1.5, 1e300, "", "\ud800", [], {}];
    const results = [
      ...simple,
      [[1, [2]], { a: { b: [null] } }],
      { "": 1, ключ: "ü", b: 1, a: 2 },
      Array.from({ length: 50_000 }, (_, i) => ({ i })),
      undefined,
    ];
    const directory = temporaryDirectory();
    await record(directory, results);
    const found = await recorded(directory);
    expect(found).toEqual(results);
    expect(JSON.stringify(found)).toBe(JSON.stringify(results));
  });

  it("returns results in any order, and none for an unknown item", async () => {
    const directory = temporaryDirectory();
    const results = Array.from({ length: 3000 }, (_, i) => resultOf(i));
    await record(directory, results);
    const journal = await open(directory);
    expect(journal.size).toBe(3000);
    for (let i = 0, item = 0; i < 3000; i += 1, item = (item + 1237) % 3000) {
      expect(isSame(journal.find(itemKey(item))!.result, results[item])).toBe(true);
    }
    expect(journal.find(itemKey(3000))).toBeUndefined();
  });

  it("grows with each run, and keeps the later result of an item", async () => {
    const directory = temporaryDirectory();
    const long = "x".repeat(100_000);
    await record(directory, ["a", long]);
    await record(directory, ["b", `${long}y`, "c"]);
    expect(await recorded(directory)).toEqual(["b", `${long}y`, "c"]);
  });

  it("accepts batches that are longer than one write", async () => {
    const directory = temporaryDirectory();
    const results = Array.from({ length: 400 }, (_, i) => `${i}${"x".repeat(50_000)}`);
    await record(directory, results);
    const found = await recorded(directory);
    expect(found.every((each, i) => each === results[i])).toBe(true);
    expect(found.length).toBe(400);
  });

  it("reports each item as done once it is recorded, before close()", async () => {
    const directory = temporaryDirectory();
    const journal = await open(directory);
    journal.add([{ key: itemKey(0), result: "zero" }]);
    journal.add([]);
    expect(readFileSync(log(directory), "utf8")).toMatch(/"zero"\n$/);
  });

  it("can be closed repeatedly, and then no longer be used", async () => {
    const directory = temporaryDirectory();
    const journal = await open(directory);
    await Promise.all([journal.close(), journal.close()]);
    await journal.close();
    expect(readdirSync(directory)).toEqual(["journal"]);
    expect(() => journal.find(itemKey(0))).toThrow("could not be read: it is closed");
    expect(() => journal.add([])).toThrow("could not be written: it is closed");
  });
});

function isSame(one: unknown, other: unknown): boolean {
  if (!(one instanceof Uint8Array)) return one === other;
  return one.constructor === Uint8Array && Buffer.compare(one, other as Uint8Array) === 0;
}

describe("a run that was killed", () => {
  it(
    "has every result that was reported, whenever it was killed",
    { timeout: 240_000 },
    async () => {
      const directory = temporaryDirectory();
      let reported = 0;
      for (let round = 0; round < 10; round += 1) {
        const { size = 0 } = statSync(log(directory), { throwIfNoEntry: false }) ?? {};
        const run = program("journals.mjs", [directory, String(reported)]);
        // While it writes, or earlier.
        if (round % 4 !== 3)
          await vi.waitUntil(() => isBigger(log(directory), size), { ...SOON, interval: 1 });
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 40));
        run.kill("SIGKILL");
        const { stdout, stderr, signal } = await run.ended;
        expect({ stderr, signal }).toEqual({ stderr: "", signal: "SIGKILL" });
        const counts = stdout.match(/^\d+(?=\n)/gm) ?? [];
        reported = Math.max(reported, Number(counts.at(-1) ?? 0));
      }
      const found = await recorded(directory);
      expect(reported).toBeGreaterThan(100);
      expect(found.length).toBeGreaterThanOrEqual(reported);
      expect(found.every((each, item) => isSame(each, resultOf(item)))).toBe(true);
      expect(readdirSync(directory).filter((name) => /tmp|lock/.test(name))).toEqual([]);
    },
  );

  it("loses only the line in which it was killed", { timeout: 120_000 }, async () => {
    const directory = temporaryDirectory();
    await record(directory, ["one", "two"]);
    const { size } = statSync(log(directory));
    await record(
      directory,
      ["one", "two", "ß\ud800"].map((text) => text),
    );
    const whole = readFileSync(log(directory));
    expect(whole.length).toBeGreaterThan(size * 1.5);
    const last = whole.lastIndexOf("\n", whole.length - 2) + 1;
    for (let length = last; length < whole.length; length += 1) {
      writeFileSync(log(directory), whole.subarray(0, length));
      expect(await recorded(directory)).toEqual(["one", "two"]);
      expect(statSync(log(directory)).size).toBe(last);
    }
    await record(directory, ["one", "two", "three"]);
    expect(await recorded(directory)).toEqual(["one", "two", "three"]);
  });

  it("leaves files whose lines were not written; the next run removes them", async () => {
    const directory = temporaryDirectory();
    await record(directory, ["x".repeat(100_000)]);
    const left = [`${itemKey(1)}.tmp`, `${itemKey(1)}.result`, `${itemKey(0)}.tmp`];
    for (const name of left) writeFileSync(path.join(directory, name), "x");
    writeFileSync(path.join(directory, "mine.txt"), "");
    expect((await recorded(directory)).length).toBe(1);
    expect(readdirSync(directory).toSorted()).toEqual(
      ["journal", `${itemKey(0)}.result`, "mine.txt"].toSorted(),
    );
  });

  it("may have been killed while it created the journal", async () => {
    const directory = temporaryDirectory();
    writeFileSync(path.join(directory, "journal.tmp"), '{"forkm');
    await record(directory, ["a"]);
    expect(await recorded(directory)).toEqual(["a"]);
  });
});

/** Whether a file exists and is longer than `size`. */
function isBigger(file: string, size: number): boolean {
  return (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > size;
}

describe("a result in a file of its own", () => {
  const cut = (file: string) => truncateSync(file, 10);
  const zeroed = (file: string) => writeFileSync(file, Buffer.alloc(statSync(file).size));
  const linked = (file: string) => {
    renameSync(file, `${file}.moved`);
    symlinkSync(`${file}.moved`, file);
  };
  it.each([rmSync, cut, zeroed, linked])("is created again after %o", async (change) => {
    const directory = temporaryDirectory();
    await record(directory, ["x".repeat(100_000)]);
    change(path.join(directory, `${itemKey(0)}.result`));
    expect(await recorded(directory)).toEqual([]);
    await record(directory, ["y".repeat(100_000)]);
    expect(await recorded(directory)).toEqual(["y".repeat(100_000)]);
  });

  it("is not written through a link", async () => {
    const directory = temporaryDirectory();
    const precious = path.join(temporaryDirectory(), "precious");
    writeFileSync(precious, "precious");
    const journal = await open(directory);
    for (const end of ["tmp", "result"])
      symlinkSync(precious, path.join(directory, `${itemKey(0)}.${end}`));
    const entry: JournalEntry = { key: itemKey(0), result: "x".repeat(100_000) };
    expect(() => journal.add([entry])).toThrow(/EEXIST/);
    journal.add([entry]);
    await journal.close();
    expect(readFileSync(precious, "utf8")).toBe("precious");
    expect(await recorded(directory)).toEqual([entry.result]);
  });
});

describe("is refused with an error that says what to do:", () => {
  async function refusal(directory: string, identity: object = {}): Promise<JournalError> {
    const error = await rejection(open(directory, { ...IDENTITY, ...identity }));
    expect(error).toBeInstanceOf(JournalError);
    expect(error).toMatchObject({ name: "JournalError", code: "ERR_PARALLEL_JOURNAL", directory });
    expect(readdirSync(path.dirname(directory)).filter((name) => name.startsWith("lock-"))).toEqual(
      [],
    );
    return error;
  }
  const REMEDY = "give this run another directory, or remove that one to start over";

  it.each([
    [{ worker: "Other" }, 'was made by the worker "Any", not by "Other"'],
    [{ version: "2" }, 'was made by version "1" of Any, which is now "2"'],
    [{ results: "json" }, 'holds results of kind "text", and this call has "json"'],
  ])("a journal of another worker or version, %j", async (identity, what) => {
    const directory = temporaryDirectory();
    await record(directory, ["a"]);
    const before = readFileSync(log(directory));
    const { message } = await refusal(directory, identity);
    expect(message).toBe(`The journal in ${directory} ${what}: ${REMEDY}`);
    expect(readFileSync(log(directory))).toEqual(before);
    expect(await recorded(directory)).toEqual(["a"]);
  });

  it("a journal of another version of forkmap", async () => {
    const directory = temporaryDirectory();
    await record(directory, []);
    const text = readFileSync(log(directory), "utf8");
    writeFileSync(log(directory), text.replace('"format":1', '"format":2'));
    expect((await refusal(directory)).message).toBe(
      `The journal in ${directory} was made by another version of forkmap: it has format 2, and this version reads 1: ${REMEDY}`,
    );
  });

  it.each(["", "\n", "mine\n", "null\n", "{}", "x".repeat(2 * MIB)])(
    "a file of that name with other content, %#",
    async (text) => {
      const directory = temporaryDirectory();
      writeFileSync(log(directory), text);
      const { message } = await refusal(directory);
      expect(message).toBe(`The journal in ${directory} is not a journal of forkmap: ${REMEDY}`);
      expect(readFileSync(log(directory), "utf8")).toBe(text);
    },
  );

  it("a directory with other files in it, which stays unchanged", async () => {
    const directory = temporaryDirectory();
    writeFileSync(path.join(directory, "thesis.txt"), "");
    const { message } = await refusal(directory);
    expect(message).toBe(
      `The directory ${directory} is not empty and is not a journal (it holds "thesis.txt"): give the journal a directory of its own`,
    );
    expect(readdirSync(directory)).toEqual(["thesis.txt"]);
  });

  it("a file instead of a directory, and one below a file", async () => {
    const file = path.join(temporaryDirectory(), "file");
    writeFileSync(file, "");
    expect((await refusal(file)).message).toContain(file);
    expect((await rejection(open(path.join(file, "below")))).message).toContain(file);
  });

  it("a journal that is a link", async () => {
    const directory = temporaryDirectory();
    const elsewhere = temporaryDirectory();
    await record(elsewhere, ["a"]);
    symlinkSync(log(elsewhere), log(directory));
    expect((await refusal(directory)).message).toContain("ELOOP");
  });

  it("a damaged line, wherever the damage is", async () => {
    const directory = temporaryDirectory();
    await record(directory, ["one", "two", "three"]);
    const whole = readFileSync(log(directory));
    const lines = whole.toString().split("\n");
    const start = lines[0].length + 1 + lines[1].length + 1;
    for (let at = start; at < start + lines[2].length; at += 1) {
      const damaged = Buffer.from(whole);
      damaged[at] ^= 1;
      writeFileSync(log(directory), damaged);
      expect((await refusal(directory)).message).toBe(
        `Line 3 of ${log(directory)} is damaged: remove that line to run its item again, or the directory to start over`,
      );
    }
    // Follows the advice of the error.
    writeFileSync(log(directory), [lines[0], lines[1], lines[3], ""].join("\n"));
    expect(await recorded(directory)).toEqual(["one"]);
  });

  it("a line without an end", async () => {
    const directory = temporaryDirectory();
    await record(directory, ["one"]);
    appendFileSync(log(directory), Buffer.alloc(2 * MIB));
    expect((await refusal(directory)).message).toContain("Line 3 of");
  });
});

describe("a journal that is in use", () => {
  it("by this process is refused, and can be opened afterwards", async () => {
    const directory = temporaryDirectory();
    const journal = await open(directory);
    expect((await rejection(open(directory))).message).toBe(
      `The journal in ${directory} is in use by another call in this process: wait until that run has ended, or give this run another directory`,
    );
    const late = open(directory);
    await journal.close();
    await late;
  });

  it("by another process is refused until that process is killed", async () => {
    const directory = temporaryDirectory();
    const run = program("journals.mjs", [directory, "0", "stays"]);
    await vi.waitUntil(() => existsSync(log(directory)), SOON);
    expect((await rejection(open(directory))).message).toContain(`in use by process ${run.pid}:`);
    run.kill("SIGKILL");
    // Its end is not awaited: on a busy machine it may take longer than a call waits for it.
    await vi.waitFor(() => open(directory), SOON);
  });

  it("can be opened if its process was killed but not reaped", async () => {
    const directory = temporaryDirectory();
    const script = '"$0" "$1" "$2" 0 stays >/dev/null & echo $!; exec sleep 60';
    const args = [process.execPath, fixture("programs/journals.mjs"), directory];
    const shell = spawn("/bin/sh", ["-c", script, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    try {
      const [pid] = (await once(shell.stdout.setEncoding("utf8"), "data")) as [string];
      await vi.waitUntil(() => existsSync(log(directory)), SOON);
      process.kill(Number(pid), "SIGKILL");
      await vi.waitFor(() => open(directory), SOON);
      expect(readFileSync(`/proc/${Number(pid)}/stat`, "utf8")).toContain(") Z ");
    } finally {
      shell.kill("SIGKILL");
    }
  });

  it("is opened by one of many calls that try at the same time", async () => {
    const directory = temporaryDirectory();
    const all = await Promise.allSettled(Array.from({ length: 5 }, () => open(directory)));
    expect(all.filter(({ status }) => status === "fulfilled").length).toBe(1);
  });

  it("by a process of another machine is refused while that process touches its lock", async () => {
    const directory = temporaryDirectory();
    const lock = path.join(directory, `lock-${ownerMark().replace(/\w+$/, "00000000")}`);
    writeFileSync(lock, "");
    const wanted = rejection(open(directory));
    await new Promise((resolve) => setTimeout(resolve, 100));
    utimesSync(lock, 1, 1);
    expect((await wanted).message).toContain(
      `in use by process ${process.pid} of another machine or container`,
    );
    expect(existsSync(lock)).toBe(true);
  });

  it(
    "by a process of another machine can be opened once its lock has been untouched for long",
    SOON,
    async () => {
      const directory = temporaryDirectory();
      const lock = path.join(directory, `lock-${ownerMark().replace(/\w+$/, "00000000")}`);
      writeFileSync(lock, "");
      const start = performance.now();
      await open(directory);
      expect(performance.now() - start).toBeGreaterThan(9_000);
      expect(existsSync(lock)).toBe(false);
    },
  );

  it("has its lock touched regularly", async () => {
    const directory = temporaryDirectory();
    await open(directory);
    const lock = readdirSync(directory).find((name) => name.startsWith("lock-"))!;
    for (const _ of ["first", "second"]) {
      utimesSync(path.join(directory, lock), 1, 1);
      await vi.waitUntil(() => statSync(path.join(directory, lock)).mtimeMs > 1000, SOON);
    }
  });
});

describe("a journal that cannot be written", () => {
  it("because the disk is full is reported, and keeps its content", async (context) => {
    const root = temporaryDirectory();
    if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=256k", "none", root]).status !== 0)
      context.skip();
    try {
      const directory = path.join(root, "journal");
      const journal = await open(directory);
      const short = Array.from({ length: 100 }, (_, i) => ({ key: itemKey(i), result: "x" }));
      journal.add(short);
      const { size } = statSync(log(directory));
      const tooMany = short.map(({ key }) => ({ key, result: "y".repeat(10_000) }));
      const tooLong = [{ key: itemKey(0), result: "y".repeat(MIB) }];
      for (const entries of [tooMany, tooLong]) {
        expect(() => journal.add(entries)).toThrow(
          /^The journal in .* could not be written: ENOSPC: .*; free some space and start the run again: recorded items are not repeated$/,
        );
      }
      expect(statSync(log(directory)).size).toBe(size);
      journal.add([{ key: itemKey(100), result: "x" }]);
      await journal.close();
      expect(await recorded(directory)).toEqual(Array(101).fill("x"));
      expect(readdirSync(directory)).toEqual(["journal"]);
    } finally {
      for (const journal of opened.splice(0)) await journal.close();
      execFileSync("umount", [root]);
    }
  });

  it("because another process has written to it is reported, and adds nothing", async () => {
    const directory = temporaryDirectory();
    const journal = await open(directory);
    appendFileSync(log(directory), "x");
    const before = readFileSync(log(directory));
    expect(() => journal.add([{ key: itemKey(0), result: "a" }])).toThrow(JournalError);
    expect(() => journal.add([{ key: itemKey(0), result: "a" }])).toThrow(
      "another process has written to it",
    );
    expect(readFileSync(log(directory))).toEqual(before);
  });

  it("because permission is missing is reported", async (context) => {
    if (process.getuid?.() === 0) context.skip();
    const directory = path.join(temporaryDirectory(), "journal");
    mkdirSync(directory);
    chmodSync(directory, 0o500);
    expect((await rejection(open(directory))).message).toContain("EACCES");
  });
});
