/** The output of children arrives completely and once, whatever its destination and however late it is read. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import path from "node:path";
import { buffer, text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { fixture } from "../../support/run-script.js";
import { temporaryDirectory } from "../../support/temporary.js";

/** Longer than a child takes if it does not wait for its reader. */
const LATE_MS = 300;
/** Longer than it takes until the program reads no more of its children. */
const LATE_LINES_MS = 1500;
/** The child's message is not awaited: it is sent only after the output of `preload` has been read. */
const PRELOAD_MS = 500;

const ITEMS = [
  ["A", "lines"],
  ["B", "thrice"],
  ["C", "megabytes"],
  ["D", "exit"],
  ["E", "uncaught"],
  ["F", "stay"],
];
const WRITTEN = { A: 300_000, B: 900_000, C: 2_000_000, D: 300_000, E: 300_000, F: 300_000 };
const PRELOADED = 300_000;

interface Setting {
  readonly options: object;
  readonly verb?: "mapProcesses" | "mapThreads";
  readonly items?: readonly (readonly string[])[];
  /** Whether the program itself writes to the stdout that its children share. */
  readonly isShared?: boolean;
  /** Whether `preload` prints. */
  readonly preloads?: boolean;
}

function commandOf({ options, verb, isShared, items = ITEMS }: Setting): string[] {
  return [fixture("writes-run.mjs"), JSON.stringify({ options, verb, items, isShared })];
}

/** Starts the program with the given stdout, and waits until a child begins to write, or has had the time to. */
async function started(setting: Setting, stdout: number | "pipe") {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const child = spawn(process.execPath, commandOf(setting), {
    stdio: ["ignore", stdout, "pipe"],
    env: { ...env, ...(setting.preloads ? { PRELOAD_WRITES: "1" } : {}) },
  });
  const ended = once(child, "close");
  const errors = text(child.stderr!);
  const begun = setting.preloads ? sleep(PRELOAD_MS) : once(child.stderr!, "data");
  await Promise.race([begun, ended]);
  return { child, ended, errors };
}

/** Returns the output into a pipe, or a socket, that is read late. */
async function readLate(setting: Setting, kind: "pipe" | "socket"): Promise<Buffer> {
  if (kind === "socket") {
    const { child } = await started(setting, "pipe");
    await sleep(LATE_MS);
    return await buffer(child.stdout!);
  }
  const { reader, writer } = makePipe();
  const starting = started(setting, writer);
  closeSync(writer);
  await starting;
  await sleep(LATE_MS);
  return await buffer(new Socket({ fd: reader, readable: true, writable: false }));
}

/** Creates a pipe of the kernel: Node's are sockets. */
function makePipe(): { reader: number; writer: number } {
  const fifo = path.join(temporaryDirectory(), "fifo");
  execFileSync("mkfifo", [fifo]);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  return { reader, writer: openSync(fifo, constants.O_WRONLY) };
}

function letters(output: Buffer): Record<string, number> {
  const counts = new Uint32Array(256);
  for (const byte of output) counts[byte]! += 1;
  const found = Array.from("ABCDEFP", (letter) => [letter, counts[letter.charCodeAt(0)]!] as const);
  return Object.fromEntries(found.filter(([, count]) => count > 0));
}

describe.concurrent.each([
  ["a child per item", { options: {} }, "pipe"],
  ["a child per item", { options: {} }, "socket"],
  ["a pool", { options: { pool: 2 } }, "pipe"],
  ["beside the program itself", { options: { concurrency: 3 }, isShared: true }, "pipe"],
  ["fibers", { options: { pool: 2, fibers: 3 } }, "pipe"],
  ["threads in a pool", { options: { pool: 1, threads: 2 } }, "pipe"],
] as const)("%s", (_name, setting, kind) => {
  it(`into a ${kind} that is read late; the output of preload appears once`, async () => {
    const counts = letters(await readLate({ ...setting, preloads: true }, kind));
    // Each thread loads its module and preloads itself.
    const preloads = "threads" in setting.options ? Math.round(counts["P"]! / PRELOADED) : 1;
    expect(counts).toEqual({ ...WRITTEN, P: preloads * PRELOADED });
  });
});

it.each([
  ["spawned", { startMethod: "spawn", concurrency: 3 }],
  ["a spawned pool", { startMethod: "spawn", pool: 2 }],
])("%s", async (_name, options) => {
  expect(letters(await readLate({ options }, "pipe"))).toEqual(WRITTEN);
});

it.each(["fork", "spawn", "command"])("tagged lines of a pool, %s, read late", async (kind) => {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const isCommand = kind === "command";
  const child = spawn(process.execPath, [fixture("tagged-lines-run.mjs"), kind], {
    stdio: ["ignore", isCommand ? "inherit" : "pipe", isCommand ? "pipe" : "inherit"],
    env,
  });
  await sleep(LATE_LINES_MS);
  const lines = (await text((isCommand ? child.stderr : child.stdout)!)).trimEnd().split("\n");
  const expected = ["A", "B", "C", "D"].flatMap((item, index) =>
    Array.from({ length: 16_000 }, (_, i) => `${index}: ${item} ${i} ${"x".repeat(50)}`),
  );
  const isSame = lines.toSorted().join("\n") === expected.toSorted().join("\n");
  expect({ count: lines.length, isSame }).toEqual({ count: expected.length, isSame: true });
});

it("threads of the program", async () => {
  const setting = { options: {}, verb: "mapThreads" } as const;
  expect(letters(await readLate(setting, "pipe"))).toEqual(WRITTEN);
});

it("appended to a file", async () => {
  const file = path.join(temporaryDirectory(), "log");
  const fd = openSync(file, "a");
  const { ended } = await started({ options: { pool: 2 }, preloads: true }, fd);
  closeSync(fd);
  await ended;
  expect(letters(readFileSync(file))).toEqual({ ...WRITTEN, P: PRELOADED });
});

it("a closed reader is an error of the writer, as in a program without forkmap", async () => {
  const { reader, writer } = makePipe();
  closeSync(reader);
  const { errors, ended } = await started({ options: { pool: 1 }, items: [["A", "once"]] }, writer);
  closeSync(writer);
  await ended;
  expect(await errors).toMatch(/Item 0 ended by an uncaught error: Error: EPIPE/);
});

it("an item, or a preload, whose output is not read times out", async () => {
  const { reader, writer } = makePipe();
  const timed = { options: { timeout: 1000, forceKillAfterDelay: 100 }, items: [["A", "once"]] };
  const stuck = await started(timed, writer);
  await stuck.ended;
  expect(await stuck.errors).toContain("Item 0 timed out after");
  const preloading = await started({ options: { startupTimeout: 1000 }, preloads: true }, writer);
  closeSync(writer);
  await preloading.ended;
  closeSync(reader);
  expect(await preloading.errors).toContain(
    "was not loaded after 1000 ms: it hangs, waits until somebody reads what it prints, or",
  );
});
