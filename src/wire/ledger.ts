/**
 * The ledger of a slot: memory its child and this process share, where the child notes which items it has begun and
 * what became of each. It outlives the child, costs no system call per item, and is never torn: what is written
 * counts once the counter behind it says so. What both ends know; theirs are child/ledger-writer.ts and ledger-reader.ts.
 *
 *   header  begun | written | recalled | released ... (32-bit words)
 *   times   start, end of item s at s % times         (64-bit floats, ms on the monotonic clock)
 *   text    a ring of lines                           (written bytes, counted from the child's start)
 *
 * A line is the result of the next item in turn when it is plain text: printable ASCII. Others begin with a mark and are
 * JSON: a string or an array of one (a result), an object (a `LastWord`), a number (which item is next, when that is
 * another one), or `{"end": ...}` (how the child itself ends). Plain lines because they need no parser: V8's looks up each
 * short string in a table, which for tiny items took a third of this process's time.
 */
import type { Ending, LastWord, LedgerShape } from "./protocol.js";

export const HEADER_BYTES = 64;
export const TIME_BYTES = 16;
export const BEGUN = 0;
export const WRITTEN = 1;
/** Not zero: no other item is to be begun. This word and those after it are the parent's to write. */
export const RECALLED = 2;
/** How often each of the child's result buffers has been read. */
export const RELEASED = 3;

/** For children with one item: one page, so that each has one page to copy. */
export const ONE_ITEM: LedgerShape = { cellBytes: 4096, times: 1 };
/** For children with many: half of the text is what `reserveBytes` keeps, the other half serves a batch of longer results. */
export const MANY_ITEMS: LedgerShape = { cellBytes: 640 * 1024, times: 4096 };

/** Before JSON. */
export const MARK = "\u0001";
/** Fills the ring to its end where a line did not fit. */
export const BLANK = "\u0002";

/** However many results the ledger is full of, each item in the child can still have so many bytes: enough to name a file. */
export const ENTRY_BYTES = 64;

/** Name of the file in a pool's scratch directory. */
export const LEDGER_FILE = "ledger";

export function textStart({ times }: LedgerShape): number {
  return HEADER_BYTES + times * TIME_BYTES;
}

export function textBytes(shape: LedgerShape): number {
  return shape.cellBytes - textStart(shape);
}

/** What longer entries have to leave free. */
export function reserveBytes({ times }: LedgerShape): number {
  return ENTRY_BYTES * (times + 1);
}

/** What was found for one item. */
export type Entry = string | readonly [unknown] | LastWord;

export interface EntryHandler {
  entry(seq: number, entry: Entry): void;
  ending(ending: Ending): void;
}

/** What a pool needs of the ledger of a slot, whoever keeps it. */
export interface Ledger {
  /** Bytes of text that need not be kept; counted modulo 2 ** 32. */
  readonly read: number;
  /** Blanks it for a new child; before that has started. */
  reset(): void;
  /** Whether the child is to begin no other item. */
  recall(isRecalled: boolean): void;
  /** One of the child's result buffers has been read. */
  release(buffer: number): void;
  /** How many items the child has begun. */
  begun(): number;
  /** When an item was begun that has not been taken, in ms on the monotonic clock. */
  beginningOf(seq: number): number;
  /**
   * Hands on what has been noted since the last time; meanwhile, the times of these items can be asked for.
   *
   * @param from - the oldest item that may be among them
   * @param to - one more than the youngest
   * @throws Breach when it is not what a child writes; what came before that has been handed on
   */
  take(from: number, to: number, handler: EntryHandler): void;
  startOf(seq: number): number;
  endOf(seq: number): number;
}
