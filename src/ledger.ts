/**
 * The ledger of a slot: memory its child and this process share, where the child notes which items it has begun and
 * what became of each. It outlives the child, costs no system call per item, and is never torn: what is written
 * counts once the counter behind it says so. The child's end is child/ledger-writer.ts.
 *
 *   header  begun | finished | written | recalled       (32-bit words)
 *   times   start, end of item s at s % times         (64-bit floats, ms on the monotonic clock)
 *   text    a ring of JSON values, each with a comma  (written bytes, counted from the child's start)
 *
 * The values are, for the next item in turn: a string (its result), an array of one (its result as JSON) or an object (a
 * `LastWord`); a number says which item comes next when that is another one. `{"end": ...}` is the child's own end.
 */
import { readSync, writeSync } from "node:fs";
import type { Ending, LastWord } from "./protocol.js";

/** How the bytes of one slot are used. */
export interface LedgerShape {
  readonly cellBytes: number;
  /** Items whose times are kept: at least as many as are in a child at once. */
  readonly times: number;
}

export const HEADER_BYTES = 64;
export const TIME_BYTES = 16;
export const BEGUN = 0;
export const FINISHED = 1;
export const WRITTEN = 2;
/** Not zero: no other item is to be begun. The only word that this process writes. */
export const RECALLED = 3;

/** For children with one item: one page, so that each has one page to copy. */
export const ONE_ITEM: LedgerShape = { cellBytes: 4096, times: 1 };
/** For children with many: half of the text is what `reserveBytes` keeps, the other half serves a batch of longer results. */
export const MANY_ITEMS: LedgerShape = { cellBytes: 640 * 1024, times: 4096 };

/** However many results the ledger is full of, each item in the child can still have so many bytes: enough to name a file. */
export const ENTRY_BYTES = 64;

/** Name of the file in a container's scratch directory. */
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

/** Where this process reads it: a file that the child has mapped, or memory shared with a thread. */
export type LedgerPlace =
  | { readonly fd: number; readonly offset: number }
  | { readonly memory: Uint8Array };

/** What was found for one item. */
export type Entry = string | readonly [unknown] | LastWord;

export interface EntryHandler {
  /** `start` and `end` in ms on the monotonic clock. */
  entry(seq: number, entry: Entry, start: number, end: number): void;
  ending(ending: Ending): void;
}

/** This process's end. */
export class LedgerReader {
  readonly #place: LedgerPlace;
  readonly #shape: LedgerShape;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #times: Float64Array;
  /** Bytes of text consumed, modulo 2 ** 32, and the place in the ring behind them. */
  #read = 0;
  #at = 0;
  /** The item whose entry comes next, unless a number says otherwise. */
  #next = 0;

  constructor(place: LedgerPlace, shape: LedgerShape) {
    this.#place = place;
    this.#shape = shape;
    this.#times = new Float64Array(2);
  }

  /** Bytes of text that need not be kept. */
  get read(): number {
    return this.#read;
  }

  /** Blanks it for a new child; before that has started. */
  reset(): void {
    this.#read = 0;
    this.#at = 0;
    this.#next = 0;
    this.#put(this.#header.fill(0), 0);
  }

  /** Whether the child is to begin no other item. */
  recall(isRecalled: boolean): void {
    const word = Buffer.alloc(4, isRecalled ? 1 : 0);
    if ("fd" in this.#place) return this.#put(word, RECALLED * 4);
    const { buffer, byteOffset } = this.#place.memory;
    Atomics.store(new Int32Array(buffer, byteOffset), RECALLED, isRecalled ? 1 : 0);
  }

  /** How many items the child has begun. */
  begun(): number {
    return this.#get(this.#header, 0).readInt32LE(BEGUN * 4);
  }

  /** When an item was begun, in ms on the monotonic clock. */
  startOf(seq: number): number {
    this.#readTimes(seq, seq + 1);
    return this.#times[0]!;
  }

  /**
   * Hands on what has been noted since the last time.
   *
   * @param from - the oldest item that may be among it
   * @param to - one more than the youngest
   */
  take(from: number, to: number, handler: EntryHandler): void {
    const written = this.#get(this.#header, 0).readUInt32LE(WRITTEN * 4);
    const fresh = (written - this.#read) >>> 0;
    if (fresh === 0) return;
    const entries = JSON.parse(`[${this.#text(fresh)}0]`) as (Entry | number | { end: Ending })[];
    this.#read = written;
    if (to > from) this.#readTimes(from, to);
    const times = this.#times;
    // The last one is the zero after the last comma.
    const count = entries.length - 1;
    for (let i = 0; i < count; i += 1) {
      const entry = entries[i]!;
      if (typeof entry === "number") {
        this.#next = entry;
      } else if (typeof entry === "object" && "end" in entry) {
        handler.ending(entry.end);
      } else {
        const seq = this.#next;
        this.#next += 1;
        const at = (seq - from) * 2;
        handler.entry(seq, entry as Entry, times[at]!, times[at + 1]!);
      }
    }
  }

  #text(bytes: number): string {
    const size = textBytes(this.#shape);
    const start = textStart(this.#shape);
    const at = this.#at;
    const upToEnd = Math.min(bytes, size - at);
    this.#at = (at + bytes) % size;
    const first = this.#getText(start + at, upToEnd);
    // An entry never lies across the end of the ring, so neither does a character.
    return upToEnd === bytes ? first : first + this.#getText(start, bytes - upToEnd);
  }

  #getText(position: number, bytes: number): string {
    return this.#get(chunk(bytes), position).toString("utf8");
  }

  /** Into `#times`, from its start. */
  #readTimes(from: number, to: number): void {
    const { times } = this.#shape;
    if (this.#times.length < 2 * (to - from)) this.#times = new Float64Array(2 * (to - from));
    for (let seq = from; seq < to;) {
      const place = seq % times;
      const count = Math.min(to - seq, times - place);
      const target = Buffer.from(
        this.#times.buffer as ArrayBuffer,
        (seq - from) * TIME_BYTES,
        count * TIME_BYTES,
      );
      this.#get(target, HEADER_BYTES + place * TIME_BYTES);
      seq += count;
    }
  }

  /** Fills `target` from the slot's bytes. */
  #get(target: Buffer, position: number): Buffer {
    if ("memory" in this.#place) {
      target.set(this.#place.memory.subarray(position, position + target.length));
    } else {
      readSync(this.#place.fd, target, 0, target.length, this.#place.offset + position);
    }
    return target;
  }

  #put(bytes: Buffer, position: number): void {
    if ("memory" in this.#place) this.#place.memory.set(bytes, position);
    else writeSync(this.#place.fd, bytes, 0, bytes.length, this.#place.offset + position);
  }
}

/** One for all ledgers: what is read into it is a string before the next is read. */
let shared = Buffer.alloc(0);

function chunk(bytes: number): Buffer {
  if (shared.length < bytes) shared = Buffer.allocUnsafeSlow(Math.max(bytes, 64 * 1024));
  return shared.subarray(0, bytes);
}
