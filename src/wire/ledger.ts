/**
 * The ledger of a slot: memory shared by parent and child, in which the child records which items it began and how each
 * ended. It outlives the child, costs no system call per item, and is never torn: text counts only once the `written`
 * counter includes it. Here: what both ends know; child/items/ledger-writer.ts and ledger-reader.ts use it.
 *
 *   header  begun | written | recalled | released ... (32-bit words)
 *   times   start, end of item s at s % times         (64-bit floats, ms on the monotonic clock)
 *   text    a ring of lines                           (written bytes, counted from the child's start)
 *
 * A line is the entry of the next item. It begins with that item's check character, so that no item is given the entry of
 * another if some code overwrote the text and so changed how many lines it has. Then comes plain text (printable ASCII,
 * a result), or a mark and JSON: a string or an array of one (a result), or an object (a `LastWord`). Plain text needs
 * no parser: V8's JSON parser looks up each short string in a table, which took a third of the parent's time for tiny
 * items. A line that begins with the mark is no entry: a number (the next line belongs to this item, out of order), or
 * `{"end": ...}` (how the child itself ends).
 */
import type { Ending, LastWord, LedgerShape } from "./protocol.js";

export const HEADER_BYTES = 64;
export const TIME_BYTES = 16;
export const BEGUN = 0;
export const WRITTEN = 1;
/** Not zero: the child must begin no other item. The parent writes this word and those after it. */
export const RECALLED = 2;
/** First of the counters, one for each result buffer of the child: how often the parent has read it. */
export const RELEASED = 3;

/** For children with one item: a single page, so that each child touches only one page. */
export const ONE_ITEM: LedgerShape = { cellBytes: 4096, times: 1 };
/** For children with many items: `reserveBytes` keeps half of the text, the rest serves a batch of longer results. */
export const MANY_ITEMS: LedgerShape = { cellBytes: 640 * 1024, times: 4096 };

/** Begins a line of JSON. */
export const MARK = "\u0001";
/** Fills the end of the ring when the next line does not fit there. */
export const BLANK = "\u0002";

/** Bytes that stay available for each item in the child, however full the ledger is: enough to name a file or buffer. */
export const ENTRY_BYTES = 72;

/** Returns the code of the character, one of the 94 visible ones of ASCII, that begins the entry of an item. */
export function checkCode(seq: number): number {
  return 0x21 + (seq % 94);
}

export function textStart({ times }: LedgerShape): number {
  return HEADER_BYTES + times * TIME_BYTES;
}

export function textBytes(shape: LedgerShape): number {
  return shape.cellBytes - textStart(shape);
}

/** Returns how many bytes of text longer entries must leave free. */
export function reserveBytes({ times }: LedgerShape): number {
  return ENTRY_BYTES * (times + 1);
}

/** The outcome of one item, as found in the ledger. */
export type Entry = string | readonly [unknown] | LastWord;

type Throttled = Extract<LastWord, { status: "throttled" }>;

export function isThrottled(entry: Entry): entry is Throttled {
  return typeof entry === "object" && "status" in entry && entry.status === "throttled";
}

export function isSuccess(entry: Entry): boolean {
  return isResult(entry) || entry.status === "ok";
}

export function isResult(entry: Entry): entry is string | readonly [unknown] {
  return typeof entry === "string" || Array.isArray(entry);
}

export interface EntryHandler {
  entry(seq: number, entry: Entry): void;
  ending(ending: Ending): void;
}

/** What a pool needs of the ledger of a slot. Each start method keeps it in its own way. */
export interface Ledger {
  /** Bytes of text that the parent has consumed, so that the child may overwrite them; counted modulo 2 ** 32. */
  readonly read: number;
  /** Blanks the ledger; called before a new child starts. */
  reset(): void;
  /** Sets whether the child must begin no other item. */
  recall(isRecalled: boolean): void;
  /** Notes that one of the child's result buffers has been read, so that the child may use it again. */
  release(buffer: number): void;
  /** Returns how many items the child has begun. */
  begun(): number;
  /** Returns when the child began an item that has not been taken yet, in ms on the monotonic clock. */
  beginningOf(seq: number): number;
  /**
   * Passes the entries added since the last call to `handler`. During the call, `startOf` and `endOf` know these items.
   *
   * @param from - the oldest item that may have an entry
   * @param to - one more than the youngest
   * @throws Breach at an entry that no child writes; entries before it have been passed on
   */
  take(from: number, to: number, handler: EntryHandler): void;
  startOf(seq: number): number;
  endOf(seq: number): number;
}
