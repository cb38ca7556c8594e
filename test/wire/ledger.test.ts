import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { LedgerWriter } from "../../src/child/items/ledger-writer.js";
import { Breach } from "../../src/wire/breach.js";
import { type Entry, MANY_ITEMS, ONE_ITEM, textBytes, textStart } from "../../src/wire/ledger.js";
import { LedgerReader } from "../../src/wire/ledger-reader.js";
import type { LedgerShape } from "../../src/wire/protocol.js";
import { seeded } from "../support/seeded.js";
import { temporaryDirectory } from "../support/temporary.js";

/** Both ends of one ledger; `renew` stands for a new child. */
interface Ledger {
  readonly reader: LedgerReader;
  writer: LedgerWriter;
  renew(): void;
}

const GUARD = 0xa5;

/** Shared with a thread, or mapped: both ends use the same memory. */
function inMemory(shape: LedgerShape): Ledger & { readonly memory: Uint8Array } {
  const buffer = new SharedArrayBuffer(shape.cellBytes * 3);
  const memory = new Uint8Array(buffer, shape.cellBytes, shape.cellBytes);
  const open = () => new LedgerWriter({ buffer, offset: shape.cellBytes }, shape);
  const reader = new LedgerReader({ memory }, shape);
  const ledger = {
    memory,
    reader,
    writer: open(),
    renew() {
      reader.reset();
      ledger.writer = open();
    },
  };
  return ledger;
}

/** The writer uses memory of its own, and writes the relevant parts to the file. Its neighbours there must not change. */
function inFile(shape: LedgerShape): Ledger & { check(): void } {
  const { cellBytes } = shape;
  const fd = openSync(`${temporaryDirectory()}/ledger`, "w+");
  const guard = Buffer.alloc(cellBytes, GUARD);
  for (const [place, bytes] of [guard, Buffer.alloc(cellBytes), guard].entries())
    writeSync(fd, bytes, 0, cellBytes, place * cellBytes);
  const file = { fd, offset: cellBytes };
  const open = () =>
    new LedgerWriter({ buffer: new ArrayBuffer(cellBytes), offset: 0, file }, shape);
  const reader = new LedgerReader(file, shape);
  const ledger = {
    reader,
    writer: open(),
    renew() {
      reader.reset();
      ledger.writer = open();
    },
    check() {
      for (const place of [0, 2]) {
        const found = Buffer.alloc(cellBytes);
        readSync(fd, found, 0, cellBytes, place * cellBytes);
        expect(found.equals(guard)).toBe(true);
      }
      closeSync(fd);
    },
  };
  return ledger;
}

const ALPHABETS = [
  "x",
  "\u0001",
  "\u0002",
  'a"\\b',
  "\0\n\u007f\u001f",
  "é€",
  "😀",
  "\ud800",
  "\udc00z",
  "\u2028,[]{}",
];
const FILE_WORD = { status: "ok", kind: "bytes", size: 10 * 2 ** 30 } as const;

/** Passes random items through a ledger, as a slot and its child do; the entries read must be those written. */
function roundTrip(ledger: Ledger, shape: LedgerShape, seed: number, steps: number): number {
  const random = seeded(seed);
  const longest = [8, 70, 400, shape.cellBytes / 4, 70_000][random(5)]!;
  const expected = new Map<number, Entry>();
  const found = new Map<number, Entry>();
  const times = new Map<number, [number, number]>();
  const running: number[] = [];
  let waiting: number[] = [];
  const open = new Set<number>();
  let next = 0;
  let clock = 1;
  const { reader } = ledger;
  ledger.renew();
  const { writer } = ledger;

  const take = () => {
    const oldest = Math.min(next, ...open);
    reader.take(oldest, next, {
      entry(seq, entry) {
        expect(open.delete(seq)).toBe(true);
        expect([reader.startOf(seq), reader.endOf(seq)]).toEqual(times.get(seq));
        found.set(seq, entry);
      },
      ending: () => expect.unreachable(),
    });
  };
  /** As a payload does: reports the position read, and brings items, as many as there is room for. */
  const hand = () => {
    take();
    const room = shape.times - (next - Math.min(next, ...open));
    writer.readUpTo(reader.read);
    for (let count = random(room + 1); count > 0; count -= 1) {
      open.add(next);
      waiting.push(next);
      next += 1;
    }
  };
  const finish = (seq: number) => {
    const now = (clock += 0.5);
    times.get(seq)![1] = now;
    const text = ALPHABETS[random(ALPHABETS.length)]!.repeat(random(longest));
    const size = [0, 69, 70, 71, longest][random(5)]!;
    const which = random(4);
    if (which === 0) {
      expected.set(seq, [{ text }]);
      if (writer.finish(seq, `[${JSON.stringify({ text })}]`, now)) return;
    } else {
      const exact = which === 1 ? "x".repeat(size) : text;
      expected.set(seq, exact);
      if (writer.finishText(seq, exact, now)) return;
    }
    // However full it is, there is room for the entry that the result is elsewhere.
    expect(writer.finish(seq, JSON.stringify(FILE_WORD), now)).toBe(true);
    expected.set(seq, FILE_WORD);
  };

  for (let step = 0; step < steps; step += 1) {
    const what = random(8);
    if (what === 0) hand();
    else if (what === 1) take();
    else if (what < 5 && waiting.length > 0) {
      const seq = waiting.shift()!;
      times.set(seq, [(clock += 0.5), 0]);
      expect(writer.begin(seq, clock)).toBe(true);
      expect(reader.begun()).toBe(seq + 1);
      expect(reader.beginningOf(seq)).toBe(clock);
      running.push(seq);
    } else if (running.length > 0) {
      const at = random(3) === 0 ? random(running.length) : 0;
      finish(running.splice(at, 1)[0]!);
    } else if (random(20) === 0) {
      // Some are recalled: their numbers are not used again.
      for (const seq of waiting) open.delete(seq);
      waiting = [];
    }
  }
  for (const seq of running.splice(0)) finish(seq);
  take();
  expect([...found].sort(bySeq)).toEqual([...expected].sort(bySeq));
  return found.size;
}

function bySeq([a]: [number, Entry], [b]: [number, Entry]): number {
  return a - b;
}

function field(entry: Exclude<Entry, string>): number | undefined {
  const [value] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
  return (value as { of?: number } | undefined)?.of;
}

const SMALL: LedgerShape = { cellBytes: 2048, times: 8 };
const MEDIUM: LedgerShape = { cellBytes: 256 * 1024, times: 64 };

describe("a ledger", () => {
  it.each([
    ["small", SMALL, 12],
    ["medium", MEDIUM, 2],
    ["of a child for one item", ONE_ITEM, 5],
  ])("%s returns the recorded entries, in shared memory", (_, shape, runs) => {
    let entries = 0;
    for (let seed = 1; seed <= runs; seed += 1) {
      entries += roundTrip(inMemory(shape), shape, seed, 2000);
    }
    expect(entries).toBeGreaterThan(runs * 50);
  });

  it.each([
    ["small", SMALL, 4],
    ["medium", MEDIUM, 1],
  ])("%s returns the recorded entries, through a file", (_, shape, runs) => {
    const ledger = inFile(shape);
    for (let seed = 101; seed <= 100 + runs; seed += 1) roundTrip(ledger, shape, seed, 2000);
    ledger.check();
  });

  it("holds results of every length up to its limits, and reports those that it does not hold", () => {
    const { reader, writer } = inMemory(MANY_ITEMS);
    const lengths = [0, 1, 69, 70, 71, 72, 73, 4095, 4096, 4097, 65_533, 65_534, 65_535];
    const held: number[] = [];
    lengths.forEach((length, seq) => {
      writer.begin(seq, 1);
      if (writer.finishText(seq, "y".repeat(length), 2)) held.push(length);
      else expect(writer.finish(seq, '{"status":"elsewhere"}', 2)).toBe(true);
    });
    const found: (number | string)[] = [];
    reader.take(0, lengths.length, {
      entry: (_, entry) => found.push(typeof entry === "string" ? entry.length : "elsewhere"),
      ending: () => expect.unreachable(),
    });
    // With its check character and its newline the longest is 64 KiB.
    expect(held).toEqual(lengths.slice(0, -1));
    expect(found).toEqual([...held, "elsewhere"]);
  });

  it("that is not read still has room for one short entry per item", () => {
    const { reader, writer } = inMemory(MANY_ITEMS);
    const { times } = MANY_ITEMS;
    let refused = 0;
    for (let seq = 0; seq < times; seq += 1) {
      writer.begin(seq, seq);
      if (writer.finishText(seq, "z".repeat(200), seq)) continue;
      refused += 1;
      expect(writer.finish(seq, JSON.stringify(FILE_WORD), seq)).toBe(true);
    }
    expect(writer.end('{"how":"exit"}')).toBe(true);
    let count = 0;
    let ending: unknown;
    reader.take(0, times, {
      entry: (seq, entry) => {
        expect(seq).toBe(count);
        expect(entry).toEqual(typeof entry === "string" ? "z".repeat(200) : FILE_WORD);
        count += 1;
      },
      ending: (it) => (ending = it),
    });
    expect([count, ending]).toEqual([times, { how: "exit" }]);
    expect(refused).toBeGreaterThan(1000);
    expect(reader.read).toBeLessThan(textBytes(MANY_ITEMS));
  });

  it("gives no item the entry of another one, whatever lines are written over its text", () => {
    const random = seeded(7);
    const lines = ["\u00010\n", "\u00013\n", '\u0001["x"]\n', "x\n", "\u0001null\n", "\n", "!\n"];
    let breaches = 0;
    for (let round = 0; round < 500; round += 1) {
      const { reader, writer, memory } = inMemory(MEDIUM);
      const count = 2 + random(MEDIUM.times - 2);
      for (let seq = 0; seq < count; seq += 1) {
        writer.begin(seq, 1);
        if (random(2) === 0) writer.finishText(seq, `of ${seq}`, 2);
        else writer.finish(seq, JSON.stringify([{ of: seq, more: "x".repeat(random(20)) }]), 2);
      }
      const line = lines[random(lines.length)]!.repeat(1 + random(3));
      memory.set(Buffer.from(line), textStart(MEDIUM) + random(count * 10));
      const entry = (seq: number, value: Entry) => {
        const of = typeof value === "string" ? /^of (\d+)$/.exec(value)?.[1] : field(value);
        if (of !== undefined) expect(Number(of)).toBe(seq);
      };
      try {
        reader.take(0, count, { entry, ending: () => expect.unreachable() });
      } catch (error) {
        expect(error).toBeInstanceOf(Breach);
        breaches += 1;
      }
    }
    expect(breaches).toBeGreaterThan(300);
  });

  it.each([
    ["in shared memory", inMemory],
    ["through a file", inFile],
  ])("recalls items that have not begun, %s", (_, make) => {
    const { reader, writer, ...ledger } = make(SMALL);
    expect(writer.begin(0, 1)).toBe(true);
    reader.recall(true);
    expect(reader.begun()).toBe(1);
    expect(writer.begin(1, 2)).toBe(false);
    expect(reader.begun()).toBe(2);
    // A batch that arrives meanwhile.
    expect(writer.begin(2, 3)).toBe(false);
    expect(reader.begun()).toBe(2);
    reader.recall(false);
    expect(writer.begin(2, 3)).toBe(true);
    expect(reader.begun()).toBe(3);
    expect(writer.finishText(2, "two", 4)).toBe(true);
    const found: unknown[] = [];
    const handler = {
      entry: (seq: number, entry: Entry) =>
        found.push([seq, entry, reader.startOf(seq), reader.endOf(seq)]),
      ending: () => {},
    };
    reader.take(0, 3, handler);
    expect(found).toEqual([[2, "two", 3, 4]]);
    reader.take(0, 3, handler);
    expect(found).toHaveLength(1);
    if ("check" in ledger) (ledger as { check(): void }).check();
  });
});
