/** The parent's end of the ledger (see ledger.ts): reads the child's entries and checks each of them. */
import { isUtf8 } from "node:buffer";
import { readSync, writeSync } from "node:fs";
import { Breach } from "./breach.js";
import { readControl, readEntry } from "./check-entry.js";
import {
  BEGUN,
  checkCode,
  type EntryHandler,
  HEADER_BYTES,
  type Ledger,
  RECALLED,
  RELEASED,
  textBytes,
  textStart,
  TIME_BYTES,
  WRITTEN,
} from "./ledger.js";
import type { LedgerShape } from "./protocol.js";
import { RESULT_BUFFERS } from "./result-buffers.js";

/** Where the parent reads the ledger: a file that the child has mapped, or memory shared with a thread. */
export type LedgerPlace =
  | { readonly fd: number; readonly offset: number }
  | { readonly memory: Uint8Array };

const MARK_CODE = 1;
const BLANK_CODE = 2;

export class LedgerReader implements Ledger {
  readonly #place: LedgerPlace;
  readonly #shape: LedgerShape;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #times: Float64Array;
  /** The item whose times come first in `#times`. */
  #timesFrom = 0;
  /** Bytes of text consumed, modulo 2 ** 32, and the position in the ring after them. */
  #read = 0;
  #at = 0;
  /** End of the part of the ring ever read; and whether the last `take` succeeded, so that nothing lies beyond it. */
  #extent = 0;
  #isReadWhole = true;
  /** The item that the next entry belongs to, unless a number entry names another one. */
  #next = 0;
  /** Range of items that may have entries now: `#from` up to, not including, `#to`. */
  #from = 0;
  #to = 0;
  readonly #released = new Int32Array(RESULT_BUFFERS);

  constructor(place: LedgerPlace, shape: LedgerShape) {
    this.#place = place;
    this.#shape = shape;
    this.#times = new Float64Array(2);
  }

  get read(): number {
    return this.#read;
  }

  /** Blanks the text too: if the next child corrupts its counter, the parent must not read results of the last one. */
  reset(): void {
    const textEnd = this.#isReadWhole ? this.#extent : textBytes(this.#shape);
    this.#put(chunk(textStart(this.#shape) + textEnd).fill(0), 0);
    this.#read = 0;
    this.#at = 0;
    this.#extent = 0;
    this.#isReadWhole = true;
    this.#next = 0;
    this.#released.fill(0);
  }

  recall(isRecalled: boolean): void {
    const word = Buffer.alloc(4, isRecalled ? 1 : 0);
    if ("fd" in this.#place) return this.#put(word, RECALLED * 4);
    Atomics.store(this.#words(this.#place.memory), RECALLED, isRecalled ? 1 : 0);
  }

  release(buffer: number): void {
    const count = (this.#released[buffer]! += 1);
    if ("memory" in this.#place)
      Atomics.store(this.#words(this.#place.memory), RELEASED + buffer, count);
    else this.#put(Buffer.from(Int32Array.of(count).buffer), (RELEASED + buffer) * 4);
  }

  begun(): number {
    if ("fd" in this.#place) return this.#get(this.#header, 0).readInt32LE(BEGUN * 4);
    return Atomics.load(this.#words(this.#place.memory), BEGUN);
  }

  beginningOf(seq: number): number {
    this.#readTimes(seq, seq + 1);
    this.#timesFrom = seq;
    return this.#times[0]!;
  }

  take(from: number, to: number, handler: EntryHandler): void {
    this.#isReadWhole = false;
    const written = this.#written();
    if (written !== this.#read) this.#takeUpTo(written, from, to, handler);
    this.#isReadWhole = true;
  }

  #takeUpTo(written: number, from: number, to: number, handler: EntryHandler): void {
    const fresh = (written - this.#read) >>> 0;
    if (fresh > textBytes(this.#shape)) {
      throw new Breach(`claims to have noted ${fresh} bytes more in its ledger than it can hold`);
    }
    const text = this.#text(fresh);
    if (!text.endsWith("\n")) throw new Breach("left a line without end in its ledger");
    this.#read = written;
    if (to > from) this.#readTimes(from, to);
    this.#timesFrom = from;
    this.#from = from;
    this.#to = to;
    for (let at = 0; at < text.length;) {
      const end = endOfLine(text, at);
      this.#takeLine(text, at, end, handler);
      at = end + 1;
    }
  }

  startOf(seq: number): number {
    return this.#times[(seq - this.#timesFrom) * 2]!;
  }

  endOf(seq: number): number {
    return this.#times[(seq - this.#timesFrom) * 2 + 1]!;
  }

  #takeLine(text: string, at: number, end: number, handler: EntryHandler): void {
    let start = at;
    while (text.charCodeAt(start) === BLANK_CODE) start += 1;
    const first = text.charCodeAt(start);
    if (first === MARK_CODE) return this.#takeControl(text.slice(start + 1, end), handler);
    const seq = this.#next;
    if (seq < this.#from || seq >= this.#to) throw strange(seq);
    if (first !== checkCode(seq)) throw new Breach("mixed up the entries of its ledger");
    this.#next += 1;
    const isMarked = text.charCodeAt(start + 1) === MARK_CODE;
    handler.entry(
      seq,
      isMarked ? readEntry(text.slice(start + 2, end)) : text.slice(start + 1, end),
    );
  }

  #takeControl(json: string, handler: EntryHandler): void {
    const value = readControl(json);
    if (typeof value !== "number") handler.ending(value.end);
    else if (Number.isSafeInteger(value)) this.#next = value;
    else throw strange(value);
  }

  #written(): number {
    if ("fd" in this.#place) return this.#get(this.#header, 0).readUInt32LE(WRITTEN * 4);
    // Atomic: the reads of the text that it counts must not move ahead of it.
    return Atomics.load(this.#words(this.#place.memory), WRITTEN) >>> 0;
  }

  #words({ buffer, byteOffset }: Uint8Array): Int32Array {
    return new Int32Array(buffer, byteOffset, HEADER_BYTES / 4);
  }

  #text(bytes: number): string {
    const size = textBytes(this.#shape);
    const start = textStart(this.#shape);
    const at = this.#at;
    const upToEnd = Math.min(bytes, size - at);
    this.#at = (at + bytes) % size;
    this.#extent = Math.max(this.#extent, at + upToEnd);
    const first = this.#getText(start + at, upToEnd);
    // A line never lies across the end of the ring, so neither does a character.
    return upToEnd === bytes ? first : first + this.#getText(start, bytes - upToEnd);
  }

  #getText(position: number, bytes: number): string {
    const text = this.#get(chunk(bytes), position);
    if (!isUtf8(text)) throw new Breach("noted something in its ledger that is not UTF-8");
    return text.toString("utf8");
  }

  /** Reads the times of items into the beginning of `#times`. */
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

  /** Fills `target` with bytes of this slot's ledger. */
  #get(target: Buffer, position: number): Buffer {
    if ("memory" in this.#place) {
      target.set(this.#place.memory.subarray(position, position + target.length));
    } else {
      const { fd, offset } = this.#place;
      const count = readSync(fd, target, 0, target.length, offset + position);
      if (count !== target.length) throw new Breach("has cut its ledger short");
    }
    return target;
  }

  #put(bytes: Buffer, position: number): void {
    if ("memory" in this.#place) this.#place.memory.set(bytes, position);
    else writeSync(this.#place.fd, bytes, 0, bytes.length, this.#place.offset + position);
  }
}

/** Most lines are shorter than a call of `indexOf` is worth. */
const SHORT_LINE = 16;
const NEWLINE_CODE = 10;

function endOfLine(text: string, at: number): number {
  const limit = Math.min(at + SHORT_LINE, text.length);
  for (let end = at; end < limit; end += 1) if (text.charCodeAt(end) === NEWLINE_CODE) return end;
  return text.indexOf("\n", limit);
}

function strange(seq: number): Breach {
  return new Breach(
    `noted in its ledger what became of item number ${seq}, which it does not have`,
  );
}

/** One buffer for all ledgers: its contents are decoded or written before the next use. */
let shared = Buffer.alloc(0);

function chunk(bytes: number): Buffer {
  if (shared.length < bytes) shared = Buffer.allocUnsafeSlow(Math.max(bytes, 64 * 1024));
  return shared.subarray(0, bytes);
}
