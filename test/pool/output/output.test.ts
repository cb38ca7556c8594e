/** The output of children: its destination with each `output`, its item, and its fate when something fails. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { DeadChildError, type FinishInfo, ItemError, ItemTimeoutError } from "forkmap";
import type { ParallelOptions } from "forkmap";
import { describe, expect, it } from "vitest";
import { Prints } from "../../fixtures/prints.mjs";
import { isAlive } from "../../support/leftovers.js";
import { opened } from "../../support/opened.js";
import { fixture, outputOf, startScript } from "../../support/run-script.js";
import { temporaryDirectory } from "../../support/temporary.js";

type Step = readonly [how: string, what?: unknown, times?: number];
type Item = readonly Step[];
type Options = ParallelOptions<Item, unknown>;

const METHODS = ["fork", "spawn"] as const;
const MIB = 1024 * 1024;

/** Returns the output of each item, from `onFinish` or its error. */
async function collected(options: Options, items: readonly Item[]) {
  const infos: Pick<FinishInfo, "stdout" | "stderr">[] = [];
  const parallel = opened(new Prints(), { output: "collect", ...options } as Options);
  const settled = await parallel.mapSettled(items, {
    onFinish: (_item, index, _result, { stdout, stderr }) =>
      void (infos[index] = { stdout, stderr }),
  });
  return settled.map((outcome, index) =>
    outcome.status === "fulfilled" ? infos[index]! : (outcome.reason as ItemError),
  );
}

/** Runs the same items in a program of their own, whose stdout and stderr are examined. */
function start(options: Options, items: readonly Item[], hasTag = false) {
  const file = path.join(temporaryDirectory(), "report");
  const argument = JSON.stringify({ file, options, items, hasTag });
  const child = startScript(fixture("output-run.mjs"), { args: [argument] });
  const report = () =>
    JSON.parse(readFileSync(file, "utf8")) as { finished: FinishInfo[]; errors: string[] };
  return { child, report };
}

async function run(options: Options, items: readonly Item[], hasTag = false) {
  const { child, report } = start(options, items, hasTag);
  const { stdout, stderr, code } = await outputOf(child);
  expect(code).toBe(0);
  return { stdout, stderr, ...report() };
}

function sorted(text: string): string[] {
  return text.split("\n").slice(0, -1).toSorted();
}

describe.each(METHODS)("tag, %s", (startMethod) => {
  const output = "tag";

  it("lines are whole, in order, each with its item's index", async () => {
    // One line is far longer than the capacity of a pipe.
    const items: Item[] = Array.from({ length: startMethod === "fork" ? 8 : 4 }, (_, i) => [
      ["pieces", i === 3 ? 2 : 20, i === 3 ? 100_000 : 900],
    ]);
    const { stdout } = await run({ startMethod, output, concurrency: 8 }, items);
    const lines = stdout.split("\n").slice(0, -1);
    for (let i = 0; i < items.length; i += 1) {
      const [, count, length] = items[i]![0] as [string, number, number];
      const letter = String.fromCharCode(97 + i);
      const expected = Array.from(
        { length: count },
        (_, line) => `${letter.repeat(10 * length)}${line}`,
      );
      const own = lines.filter((line) => line.startsWith(`${i}: `)).map((line) => line.slice(3));
      expect(own.join("\n") === expected.join("\n")).toBe(true);
    }
    expect(lines).toHaveLength((items.length - 1) * 20 + 2);
  });

  it("tags both streams, whatever prints, with bytes unchanged and a last line without a newline", async () => {
    const { child, report } = start({ startMethod, output, concurrency: 1 }, [
      [
        ["error", "e"],
        ["log", "l"],
        ["fd", "f\n"],
        ["sh", "echo s; echo t >&2"],
        ["out", "no end"],
      ],
      [
        ["hex", "fffe80c30a00410a"],
        ["out", ""],
        ["error", ""],
      ],
      [
        ["out", "dies\nin the middle"],
        ["kill", "SIGKILL"],
      ],
    ]);
    const [stdout, stderr] = await Promise.all([buffer(child.stdout!), buffer(child.stderr!)]);
    expect(stdout.toString("latin1")).toBe(
      "0: l\n0: f\n0: s\n0: no end\n1: \xff\xfe\x80\xc3\n1: \0A\n2: dies\n2: in the middle\n",
    );
    expect(stderr.toString()).toBe("0: e\n0: t\n1: \n");
    expect(report().finished.map((info) => info.stdout)).toEqual([undefined, undefined]);
  });

  it("a line appears as soon as it is printed; the tag is configurable", async () => {
    const go = path.join(temporaryDirectory(), "go");
    const { child } = start(
      { startMethod, output },
      [
        [
          ["log", "early"],
          ["waitFor", go],
          ["log", "late"],
        ],
      ],
      true,
    );
    let text = "";
    for await (const chunk of child.stdout!) {
      text += String(chunk);
      if (!existsSync(go)) {
        expect(text).toBe("log 0: early\n");
        writeFileSync(go, "");
      }
    }
    expect(text).toBe("log 0: early\nlog 0: late\n");
  });

  it("in a pool, each line has the tag of the item that printed it", async () => {
    const items: Item[] = Array.from({ length: 60 }, (_, i) => [
      ["log", `out ${i}`],
      ["fd2", `err ${i}\n`],
      ["out", `end ${i}`],
    ]);
    const { stdout, stderr } = await run(
      { startMethod, output, pool: 2, maxItemsPerChild: 25 },
      items,
    );
    const expected = (words: string[]) =>
      items.flatMap((_, i) => words.map((word) => `${i}: ${word} ${i}`)).toSorted();
    expect(sorted(stdout)).toEqual(expected(["out", "end"]));
    expect(sorted(stderr)).toEqual(expected(["err"]));
  });
});

describe.each(METHODS)("collect, %s", (startMethod) => {
  it("the output of an item is given to onFinish, or is on its error", async () => {
    const said: Item = [
      ["log", "o"],
      ["sh", "printf n >&2"],
    ];
    const items: Item[] = [
      said,
      [],
      [...said, ["throw", "boom"]],
      [...said, ["exit", 3]],
      [...said, ["kill", "SIGKILL"]],
      [...said, ["uncaught", "late"]],
      [...said, ["return"]],
    ];
    const [done, silent, thrown, exited, killed, uncaught, mistyped] = await collected(
      { startMethod, pool: 2 },
      items,
    );
    expect(done).toEqual({ stdout: "o\n", stderr: "n" });
    expect(silent).toEqual({ stdout: "", stderr: "" });
    for (const error of [thrown, exited, killed, mistyped]) {
      expect(error).toBeInstanceOf(ItemError);
      expect(error).toMatchObject({ stdout: "o\n", stderr: "n" });
    }
    expect((killed as Error).message).toMatch(
      /^Item 4 lost its child, killed by SIGKILL, its last words on stderr: n \(num/,
    );
    expect(uncaught).toBeInstanceOf(DeadChildError);
    expect((uncaught as ItemError).stderr).toMatch(/^nUncaught Error: late|^n.*Error: late/s);
    expect((uncaught as Error).message).not.toContain("last words");
  });

  it("a child per item: its last bytes are not lost, and of long output the end is kept", async () => {
    const [all, much] = await collected({ startMethod }, [
      [
        ["out", "x".repeat(300_000)],
        ["out", "y"],
      ],
      [
        ["many", `${"0123456789".repeat(100)}\n`, 3000],
        ["log", "the end"],
      ],
    ]);
    expect(all!.stdout).toBe(`${"x".repeat(300_000)}y`);
    const { stdout } = much as { stdout: string };
    expect(stdout.length).toBeLessThan(MIB + 100);
    expect(stdout).toMatch(/^\[\.\.\. 19\d{5} bytes cut \.\.\.\]\n/);
    expect(stdout.endsWith("789\nthe end\n")).toBe(true);
  });

  it("a child that runs out of memory: its last words contain that, but not V8's location", async () => {
    const execArgv = ["--max-old-space-size=40"];
    const [error] = await collected({ startMethod, execArgv }, [[["fill"]]]);
    expect(error).toBeInstanceOf(DeadChildError);
    expect(error).toMatchObject({ probablyOutOfMemory: true });
    expect((error as Error).message).toMatch(
      /, probably out of memory.*, its last words on stderr: FATAL ERROR: [^/]* - JavaScript heap out of memory \(num 0/,
    );
  });

  it("an item that is killed by its timeout has its last words", async () => {
    const [error] = await collected({ startMethod, timeout: 5000 }, [
      [["manyErr", "some noise\n", 1000], ["error", "stuck in a loop\n"], ["loop"]],
    ]);
    expect(error).toBeInstanceOf(ItemTimeoutError);
    expect((error as Error).message).toMatch(
      /^Item 0 timed out after \d+ ms, its last words on stderr: some noise \/ some noise \/ stuck in a loop \(num/,
    );
    expect(error!.stderr).toContain("stuck in a loop");
  });

  it("fibers: output from JavaScript belongs to the item that called it", async () => {
    const items: Item[] = Array.from({ length: 12 }, (_, i) => [
      ["log", `${i} a`],
      ["sleep", 5 + (i % 3) * 5],
      ["error", `${i} b`],
      ["out", `${i} `],
      ["sleep", 5],
      ["log", "c"],
    ]);
    const infos = await collected({ startMethod, pool: 1, fibers: 6 }, items);
    expect(infos).toEqual(
      items.map((_, i) => ({ stdout: `${i} a\n${i} c\n`, stderr: `${i} b\n` })),
    );
  });

  it("a process that a child leaves behind delays nothing, and prints for no other item", async () => {
    const directory = temporaryDirectory();
    const [file, second, said] = ["pid", "second", "said"].map((name) =>
      path.join(directory, name),
    );
    const makes = (name: string, text = "") =>
      `echo ${text} > ${name}.new; /bin/mv ${name}.new ${name}`;
    const waitsFor = (name: string) => `while [ ! -e ${name} ]; do /bin/sleep 0.02; done`;
    const infos = await collected({ startMethod, concurrency: 1 }, [
      [
        [
          "daemon",
          `trap '' PIPE; ${makes(file, "$$")}; ${waitsFor(second)}; echo late; ${makes(said)}; exec sleep 30`,
        ],
        ["waitFor", file],
        ["log", "first"],
      ],
      [
        ["log", "second"],
        ["sh", makes(second)],
        ["waitFor", said],
      ],
    ]);
    const pid = Number(readFileSync(file, "utf8"));
    const wasAlive = isAlive(pid);
    if (wasAlive) process.kill(pid, "SIGKILL");
    expect(wasAlive).toBe(true);
    expect(infos).toEqual([
      { stdout: "first\n", stderr: "" },
      { stdout: "second\n", stderr: "" },
    ]);
  });
});

it("the output of a module while it loads is the fork server's, and unchanged", async () => {
  const options: Options = { output: "tag", env: { ...process.env, PRINTS_AT_LOAD: "1" } };
  const { stdout } = await run({ ...options, startMethod: "fork" }, [
    [["log", "a"]],
    [["log", "b"]],
  ]);
  expect(sorted(stdout)).toEqual(["0: a", "1: b", "loaded"]);
  const spawned = await run({ ...options, startMethod: "spawn" }, [[["log", "a"]]]);
  expect(spawned.stdout).toBe("0: loaded\n0: a\n");
});

it("if the FIFO for its output cannot be created, an item is not started", async (context) => {
  const scratchRoot = temporaryDirectory();
  // Sufficient for the scratch directory and the ledger.
  const size = "size=1m,nr_inodes=3";
  if (spawnSync("mount", ["-t", "tmpfs", "-o", size, "none", scratchRoot]).status !== 0)
    context.skip();
  try {
    const options: Options = { startMethod: "fork", scratchRoot, concurrency: 1 };
    const [first, second] = await collected(options, [[["log", "a"]], [["log", "b"]]]);
    expect(first).toMatchObject({
      code: "ERR_PARALLEL_START",
      message: expect.stringContaining("no FIFO could be made for its output") as string,
    });
    expect(second).toMatchObject({ code: "ERR_PARALLEL_START" });
  } finally {
    execFileSync("umount", [scratchRoot]);
  }
});

it("a background process with endless output does not delay other items", async () => {
  const infos = await collected({ startMethod: "fork", pool: 1 }, [
    [
      ["daemon", "exec yes"],
      ["log", "first"],
    ],
    ...Array.from({ length: 50 }, (): Item => []),
  ]);
  expect(infos).toHaveLength(51);
});

it("inherit: output is not changed, kept or extended", async () => {
  const { stdout, stderr, finished, errors } = await run({ concurrency: 1 }, [
    [
      ["log", "plain"],
      ["out", "no end"],
    ],
    [
      ["error", "e"],
      ["kill", "SIGKILL"],
    ],
  ]);
  expect(stdout).toBe("plain\nno end");
  expect(stderr).toBe("e\n");
  expect(finished).toEqual([{ index: 0 }]);
  expect(errors[1]).toMatch(/killed by SIGKILL \(num/);
});

it("a reader slower than the children receives everything", async () => {
  const items: Item[] = Array.from({ length: 30 }, () => [["many", `${"z".repeat(99)}\n`, 2000]]);
  const { child } = start({ output: "tag", pool: 2 }, items);
  let bytes = 0;
  for await (const chunk of child.stdout!) {
    bytes += (chunk as Buffer).length;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const tags = items.reduce((sum, _, i) => sum + `${i}: `.length * 2000, 0);
  expect(bytes).toBe(items.length * 2000 * 100 + tags);
});
