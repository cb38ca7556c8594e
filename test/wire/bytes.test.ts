/** Bytes as items and results: of any length, from any memory, with every kind of worker, everywhere. */
import { createHash } from "node:crypto";
import { readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { CommandWorker, Parallel, ResultTypeError } from "forkmap";
import { describe, expect, it } from "vitest";
import { Echo, EchoJson } from "../fixtures/echo.mjs";
import {
  BYTE_FORMS,
  CountsChanges,
  DescribesBytes,
  describesBytes,
  formOf,
  GivesForm,
  GivesTransferred,
  OverwritesBytes,
} from "../fixtures/takes-bytes.mjs";
import { scratchDirectories } from "../support/leftovers.js";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { seeded } from "../support/seeded.js";
import { temporaryDirectory } from "../support/temporary.js";
import { HERE, mapIn, WAYS } from "../support/ways.js";

const KIB = 1024;
const MIB = 1024 * KIB;
const LENGTHS = [
  [0, 1, 2, 3, 255, 6 * KIB - 1, 6 * KIB, 6 * KIB + 1, 8 * KIB - 1, 8 * KIB, 64 * KIB],
  [MIB - 1, MIB, MIB + 1, 5 * MIB + 3],
].flat();
const BIGGEST = 6 * MIB;
const random = seeded(17);
/** The bytes of all items are parts of this one. */
const noise = Buffer.alloc(BIGGEST);
for (let i = 0; i < BIGGEST; i += 4) noise.writeUInt32LE(random(2 ** 32), i);
const part = (length: number, at = 7) => noise.subarray(at, at + length);

function factsOf(bytes: Uint8Array, type = "Uint8Array") {
  const { length } = bytes;
  const hash = createHash("sha256").update(bytes).digest("hex");
  return { type, length, memory: length, isShared: false, hash };
}

/** Each is a plain Uint8Array (or a Buffer) with memory of its own, of exactly its length. */
function expectBytes(
  found: readonly any[],
  expected: readonly Uint8Array[],
  type: unknown = Uint8Array,
): void {
  expect(found.map((each) => each.constructor)).toEqual(expected.map(() => type));
  expect(found.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
  expect(found.map(({ buffer }) => buffer.byteLength)).toEqual(expected.map((e) => e.length));
  expect(new Set(found.map(({ buffer }) => buffer)).size).toBe(found.length);
  expect(found.findIndex((each, i) => Buffer.compare(each, expected[i]!) !== 0)).toBe(-1);
}

const WORKERS = { ParallelWorker: Echo, JsonWorker: EchoJson };

describe.each(WAYS)("in $name", (way) => {
  it.each(["json", "advanced"] as const)("bytes of all lengths, with %s", async (serialization) => {
    const items = LENGTHS.map((length) => part(length));
    // As in `child_process.fork`, a Buffer stays one if values are cloned.
    const type = serialization === "advanced" ? Buffer : Uint8Array;
    for (const Worker of Object.values(WORKERS)) {
      expectBytes(await mapIn(way, new Worker(), items, { serialization }), items, type);
    }
    const seen = await mapIn(way, new DescribesBytes(), items, { serialization });
    expect(seen).toEqual(items.map((item) => factsOf(item, type.name)));
  });

  it("bytes from any memory, both ways", async () => {
    const lengths = [0, 5, 8 * KIB, MIB + 1];
    const forms = lengths.flatMap((n) => BYTE_FORMS.map((name) => [name, n] as const));
    const expected = forms.map(([, n]) => new Uint8Array(n).fill(120));
    const items = forms.map(([name, n]) => formOf(name, n));
    expect(await mapIn(way, new DescribesBytes(), items)).toEqual(expected.map((e) => factsOf(e)));
    expectBytes(await mapIn(way, new GivesForm(), forms), expected);
  });

  it("what a worker does with its bytes, and later with those of its result, changes nothing", async () => {
    const lengths = [1, 100, 6 * KIB, 6 * KIB + 1, 20 * KIB, MIB, 3 * MIB];
    const items = [...lengths, ...lengths].map((length, i) => part(length, i));
    const before = items.map((item) => Uint8Array.from(item));
    const found = await mapIn(way, new OverwritesBytes(), items);
    expectBytes(found, before);
    expect(items.findIndex((item, i) => Buffer.compare(item, before[i]!) !== 0)).toBe(-1);
  });

  it("one Uint8Array that is several items is another for each of them", async () => {
    for (const length of [1, 10 * KIB]) {
      const item = new Uint8Array(length);
      const items = Array.from({ length: 12 }, () => item);
      expect(await mapIn(way, new CountsChanges(), items)).toEqual(items.map(() => "1"));
      expect(item[0]).toBe(0);
    }
  });

  it("bytes whose memory has been transferred are refused", async () => {
    const gone = new Uint8Array(9);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    for (const serialization of ["json", "advanced"] as const) {
      const error = await rejection(mapIn(way, new Echo(), ["a", gone], { serialization }));
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toContain(
        "it is an instance of Uint8Array whose memory has been transferred",
      );
      expect(error.message).toMatch(/^Item 1 /);
      expect(error.message).not.toContain("of new Parallel keeps it");
      const failed = await rejection(mapIn(way, new GivesTransferred(), [9], { serialization }));
      expect(failed).toBeInstanceOf(ResultTypeError);
      expect(failed.message).toContain(
        "returned an instance of Uint8Array whose memory has been transferred",
      );
    }
  });
});

it.each([{ pool: 2 }, { pool: 2, threads: 2 }, { pool: 1, fibers: 16, batch: 100 }])(
  "many small ones, %j",
  async (options) => {
    const items = Array.from({ length: 5000 }, (_, i) => part(i % 97, i));
    expectBytes(await opened<any, any>(new Echo(), options).mapProcesses(items), items);
  },
);

it("a function takes and gives bytes as a worker does", async () => {
  const items = LENGTHS.map((length) => part(length));
  const parallel = new Parallel(describesBytes as any, { pool: 1 });
  try {
    const expected = items.map((item) => factsOf(item));
    expect(await parallel.mapProcesses(items)).toEqual(expected);
    expect(await parallel.mapThreads(items)).toEqual(expected);
  } finally {
    await parallel.close();
  }
});

it("in this process bytes are passed as they are", async () => {
  const items = [new Uint8Array(0), Buffer.from("abc"), part(MIB)];
  const found = await mapIn(HERE, new Echo(), items);
  for (const [i, each] of found.entries()) expect(each).toBe(items[i]);
});

describe("for a program", () => {
  const script = fileURLToPath(new URL("../fixtures/commands/bytes.py", import.meta.url));
  const worker = () => new CommandWorker<any, any>({ argv: ["python3", script] });

  it.each([{ pool: 1 }, { pool: 2 }, { pool: 1, fibers: 4 }, { pool: 2, maxItemsPerChild: 1 }])(
    "bytes are in a file, and so are those that it returns, %j",
    async (options) => {
      const scratchRoot = temporaryDirectory();
      const parallel = opened(worker(), { ...options, scratchRoot });
      const items = [...LENGTHS, ...LENGTHS.toReversed()].map((length, i) => part(length, i));
      const results = await parallel.mapProcesses(items);
      expectBytes(
        results,
        items.map((item) => Uint8Array.from(item).reverse()),
      );
      const left = readdirSync(scratchRoot, { recursive: true, encoding: "utf8" });
      // The file that a result was in is removed when it is read.
      expect(left.filter((name) => path.basename(name).startsWith("result-"))).toEqual([]);
      await parallel.close();
      expect(readdirSync(scratchRoot)).toEqual([]);
    },
  );

  it("a text of any length has no item_type", async () => {
    const items = ["abc", "x".repeat(2 * MIB), { a: 1 }];
    expect(await opened(worker(), { pool: 1 }).mapProcesses(items)).toEqual([
      ["id", "payload"],
      ["id", "item_file"],
      ["id", "payload"],
    ]);
  });

  it("bytes with a transferred memory are refused, and those inside a value too", async () => {
    const gone = new Uint8Array(9);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    const parallel = opened(worker(), { pool: 1 });
    const error = await rejection(parallel.mapProcesses([gone]));
    expect(error.message).toContain("whose memory has been transferred");
    const inside = await rejection(parallel.mapProcesses([{ a: [part(3)] }]));
    expect(inside.message).toContain("`a.0` is an instance of Buffer");
    expect(inside.message).not.toContain("serialization");
  });
});

it("no file of bytes is left after a call", async () => {
  const scratchRoot = temporaryDirectory();
  for (const way of WAYS) {
    const items = LENGTHS.map((length) => part(length));
    const parallel = opened<any, any>(new Echo(), { ...way.options, scratchRoot });
    await (way.inThreads ? parallel.mapThreads(items) : parallel.mapProcesses(items));
    await parallel.close();
    expect(readdirSync(scratchRoot), way.name).toEqual([]);
  }
  expect(scratchDirectories()).toEqual([]);
});
