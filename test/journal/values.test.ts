/** Bytes and, with `serialization: "advanced"`, any values: recorded in a journal, and the same item to `dedupe`. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { serialize } from "node:v8";
import { JournalError, type ParallelOptions } from "forkmap";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { itemKey, KeyCounter } from "../../src/journal/item-key.js";
import { CLONEABLE, inWords } from "../fixtures/cloneable.mjs";
import { NotesBytes, NotesValue } from "../fixtures/journaled-values.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

const WAYS: ParallelOptions[] = [
  { startMethod: "fork", concurrency: 2 },
  { startMethod: "fork", pool: 2 },
  { startMethod: "spawn", pool: 1 },
  { pool: 1, threads: 2 },
  { pool: 0 },
];
const ADVANCED = { serialization: "advanced" } as const;
const KIB = 1024;
/** Results of more bytes are in files of their own. */
const LIMIT = 64 * KIB;

let journal: string;
let log: string;
beforeEach(() => {
  const directory = temporaryDirectory();
  journal = path.join(directory, "journal");
  log = path.join(directory, "log");
  process.env["FORKMAP_TEST_LOG"] = log;
});
afterEach(() => void delete process.env["FORKMAP_TEST_LOG"]);

/** Returns how many items have run since the last call. */
function ran(): number {
  if (!existsSync(log)) return 0;
  const lines = readFileSync(log, "utf8").split("\n").length - 1;
  rmSync(log);
  return lines;
}

const resultFiles = () => readdirSync(journal).filter((name) => name.endsWith(".result"));

/** The lines of the journal after its header, by their kinds. */
function kinds(): string {
  const lines = readFileSync(path.join(journal, "journal"), "utf8").split("\n").slice(1, -1);
  return lines
    .map((line) => line.split(" ")[2]![0])
    .sort()
    .join("");
}

describe.each(WAYS)("a journal, %j", (options) => {
  const open = (Worker: any, more: ParallelOptions<any, any> = {}) =>
    opened<any, any>(new Worker(), { ...options, journal, ...more });

  it("keeps bytes of all lengths", async () => {
    const lengths = [0, 1, 7000, LIMIT - 2, LIMIT - 1, LIMIT, 300 * KIB];
    const items = lengths.map((length) => new Uint8Array(length).fill(length % 250));
    const first = await open(NotesBytes).mapProcesses(items);
    expect(first.map(({ length }) => length)).toEqual(lengths.map((length) => length + 1));
    expect(ran()).toBe(items.length);
    expect(resultFiles()).toHaveLength(2);
    expect(kinds()).toBe("BBbbbbb");
    const again = open(NotesBytes);
    const second = await again.mapProcesses(items);
    expect(ran()).toBe(0);
    expect(again.stats().pids).toEqual([]);
    expect(isDeepStrictEqual(second, first)).toBe(true);
    expect(new Set(second.map((each) => each.constructor))).toEqual(new Set([Uint8Array]));
    expect(second.map(({ buffer }) => buffer.byteLength)).toEqual(second.map((s) => s.length));
  });

  it("keeps values that are no JSON, short and long", async () => {
    const items = [
      new Map([["a", new Date(5)]]),
      new Set([1n, undefined, -0]),
      undefined,
      NaN,
      "text",
      "x".repeat(LIMIT + 1),
      new Map([["long", "é".repeat(LIMIT)]]),
      { a: new Uint16Array(LIMIT) },
      Uint8Array.of(1, 2),
    ];
    const first = await open(NotesValue, ADVANCED).mapProcesses(items);
    expect(isDeepStrictEqual(first, items)).toBe(true);
    expect(ran()).toBe(items.length);
    expect(kinds()).toBe("-AATaaabj");
    expect(resultFiles()).toHaveLength(3);
    const second = await open(NotesValue, ADVANCED).mapProcesses(items.toReversed());
    expect(ran()).toBe(0);
    expect(isDeepStrictEqual(second, items.toReversed())).toBe(true);
  });

  it("is refused by a call with another serialization, and by one with none", async () => {
    for (const [made, other] of [
      ["json", "advanced"],
      ["advanced", "json"],
    ] as const) {
      rmSync(journal, { recursive: true, force: true });
      await open(NotesValue, { serialization: made }).mapProcesses([1, 2]);
      ran();
      const call = open(NotesValue, { serialization: other }).mapProcesses([1, 2]);
      const error = await rejection(call);
      expect(error).toBeInstanceOf(JournalError);
      expect(error.message).toContain(
        `holds results of kind "${made}", and this call has "${other}"`,
      );
      expect(ran()).toBe(0);
    }
  });

  it("has another key for bytes, the text of them, and values that only look the same", async () => {
    const look = [
      Buffer.from("a"),
      "a",
      new String("a"),
      ["a"],
      new Set(["a"]),
      new Map([["a", undefined]]),
      { a: undefined },
      {},
      new Map(),
      new Set(),
      0,
      -0,
      0n,
      null,
      undefined,
      "null",
      "undefined",
      new Date(0),
      "1970-01-01T00:00:00.000Z",
      Buffer.from('"a"'),
      '"a"',
    ];
    const first = await open(NotesValue, { ...ADVANCED, dedupe: true }).mapProcesses(look);
    expect(ran()).toBe(look.length);
    const second = await open(NotesValue, { ...ADVANCED, dedupe: true }).mapProcesses(look);
    expect(ran()).toBe(0);
    expect(second.map(inWords)).toEqual(first.map(inWords));
  });

  it("runs an item again whose result file is not what was written", async () => {
    const item = new Map([["long", "é".repeat(LIMIT)]]);
    await open(NotesValue, ADVANCED).mapProcesses([item]);
    expect(ran()).toBe(1);
    writeFileSync(path.join(journal, resultFiles()[0]!), "other");
    expect(await open(NotesValue, ADVANCED).mapProcesses([item])).toEqual([item]);
    expect(ran()).toBe(1);
  });
});

describe.each(WAYS)("dedupe, %j", (options) => {
  it("runs equal bytes once, whatever holds them, and not with an equal text", async () => {
    const parallel = opened<any, any>(new NotesValue() as any, { ...options, dedupe: true });
    const big = new Uint8Array(100 * KIB);
    const items = [
      Uint8Array.of(97, 98),
      "ab",
      Buffer.from("ab"),
      Buffer.from("xaby").subarray(1, 3),
      big,
      "ab",
      Uint8Array.from(big),
      Uint8Array.of(97),
      new Uint8Array(0),
      Buffer.alloc(0),
    ];
    const found = await parallel.mapProcesses(items);
    expect(found.map((each) => each.length)).toEqual(items.map((each) => each.length));
    expect(found.findIndex((e, i) => typeof e !== typeof items[i])).toBe(-1);
    expect(ran()).toBe(5);
  });

  it("runs equal Maps, Sets and other values once", async () => {
    const parallel = opened<any, any>(new NotesValue() as any, {
      ...options,
      ...ADVANCED,
      dedupe: true,
    });
    const make = (): unknown[] => [
      new Map([["a", [1n]]]),
      new Set([new Date(0)]),
      undefined,
      -0,
      NaN,
      { a: [undefined, /x/] },
    ];
    const others = [new Map([["a", [2n]]]), new Set([new Date(1)]), null, { a: [null, /x/] }];
    const found = await parallel.mapProcesses([...make(), ...others, ...make()]);
    expect(isDeepStrictEqual(found, [...make(), ...others, ...make()])).toBe(true);
    expect(ran()).toBe(make().length + others.length);
  });
});

describe("the key of an item", () => {
  it("is the same each time, and another for every kind of value", () => {
    const makes = Object.values(CLONEABLE as Record<string, () => unknown>);
    const keys = makes.map((make) => itemKey(make(), "advanced"));
    expect(makes.map((make) => itemKey(make(), "advanced"))).toEqual(keys);
    const forms = makes.map((make) => {
      const value = make();
      return value instanceof Uint8Array ? "bytes" : serialize(value).toString("latin1");
    });
    expect(new Set(keys).size).toBe(new Set(forms).size);
  });

  it("of bytes depends neither on their memory nor on the serialization, but for a Buffer that stays one", () => {
    const [plain, ...others] = [
      Uint8Array.of(1, 2, 3),
      Buffer.from([1, 2, 3]),
      new Uint8Array([9, 1, 2, 3, 9]).subarray(1, 4),
      new Uint8Array(new SharedArrayBuffer(3)).fill(1).map((_, i) => i + 1),
    ];
    const keys = ["json", "advanced"].flatMap((format: any) =>
      [plain, ...others]
        .filter((bytes) => format === "json" || !Buffer.isBuffer(bytes))
        .map((bytes) => itemKey(bytes, format)),
    );
    expect(new Set(keys).size).toBe(1);
    expect(itemKey(Buffer.from([1, 2, 3]), "advanced")).not.toBe(keys[0]);
    expect(itemKey(Uint8Array.of(1, 2, 3, 0))).not.toBe(keys[0]);
    expect(itemKey(Int8Array.of(1, 2, 3), "advanced")).not.toBe(keys[0]);
  });

  it("of a text, a number or a boolean does not depend on the serialization", () => {
    for (const item of ["", "é", 0, 1.5, true, null]) {
      expect(itemKey(item, "advanced")).toBe(itemKey(item));
    }
  });

  it("is another for each occurrence", () => {
    const counter = new KeyCounter();
    const keys = [1, 2, 3].map(() => counter.next(itemKey(new Map([[1, 1n]]), "advanced")));
    expect(new Set(keys).size).toBe(3);
  });
});
