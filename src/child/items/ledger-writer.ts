/** The child's end of the ledger (see ledger.ts): notes what is begun and what became of it, in memory its parent can read. */
import { readSync, writeSync } from "node:fs";
import {
  BEGUN,
  BLANK,
  ENTRY_BYTES,
  HEADER_BYTES,
  MARK,
  RECALLED,
  RELEASED,
  reserveBytes,
  TIME_BYTES,
  textBytes,
  textStart,
  WRITTEN,
} from "../../wire/ledger.js";
import type { LedgerShape } from "../../wire/protocol.js";
import { stringify } from "../../system/json.js";

/** Memory with a slot's bytes at `offset`; when it is not itself shared, the file that is. */
export interface LedgerMemory {
  readonly buffer: ArrayBufferLike;
  readonly offset: number;
  readonly file?: { readonly fd: number; readonly offset: number } | undefined;
}

/** Written a character at a time up to here, which is faster than a call into C++; with its newline it is a short entry. */
const SHORT_TEXT = ENTRY_BYTES - 1;
/** A longer one costs less as a file, which need not be escaped and parsed. */
const LONG_BYTES = 64 * 1024;
const SPACE = 0x20;
const DELETE = 0x7f;
const NEWLINE = 0x0a;
const PLAIN = /^[\u0020-\u007e]*$/;

export class LedgerWriter {
  readonly #header: Int32Array;
  readonly #times: Float64Array;
  /** The ring. */
  readonly #text: Buffer;
  readonly #shape: LedgerShape;
  readonly #file: LedgerMemory["file"];
  readonly #reserve: number;
  /** Place in the ring for the next byte. */
  #at = 0;
  #written = 0;
  /** As far as the parent has read. */
  #read = 0;
  /** The item the parent takes the next entry for. */
  #next = 0;

  constructor({ buffer, offset, file }: LedgerMemory, shape: LedgerShape) {
    this.#shape = shape;
    this.#reserve = reserveBytes(shape);
    this.#file = file;
    this.#header = new Int32Array(buffer, offset, HEADER_BYTES / 4);
    this.#times = new Float64Array(buffer, offset + HEADER_BYTES, shape.times * 2);
    this.#text = Buffer.from(buffer as ArrayBuffer, offset + textStart(shape), textBytes(shape));
  }

  /** The parent has read so far: what lies before may be overwritten. */
  readUpTo(bytes: number): void {
    this.#read = bytes;
  }

  /** How often the parent has read this result buffer. */
  released(buffer: number): number {
    return this.#parentWord(RELEASED + buffer);
  }

  /** Notes that an item begins at `now`; `false` when the parent has taken it back, so that it must not. */
  begin(seq: number, now: number): boolean {
    this.#times[(seq % this.#shape.times) * 2] = now;
    // First the note, then the look, as the parent does it the other way round: one of us sees the other.
    Atomics.store(this.#header, BEGUN, seq + 1);
    if (this.#file) this.#sync(seq);
    return this.#parentWord(RECALLED) === 0;
  }

  /** Notes a result that is a text; `false` when it has to go elsewhere. */
  finishText(seq: number, text: string, now: number): boolean {
    if (text.length <= SHORT_TEXT && this.#putShort(seq, text)) {
      this.#commit(seq, now);
      return true;
    }
    if (text.length > LONG_BYTES) return false;
    if (seq !== this.#next || !PLAIN.test(text)) return this.finish(seq, stringify(text), now);
    if (!this.#put(`${text}\n`)) return false;
    this.#commit(seq, now);
    return true;
  }

  /** Notes what became of an item, as JSON; `false` when there is no room for it. */
  finish(seq: number, json: string, now: number): boolean {
    const turn = seq === this.#next ? "" : `${MARK}${seq}\n`;
    if (!this.#put(`${turn}${MARK}${json}\n`)) return false;
    this.#commit(seq, now);
    return true;
  }

  /** Notes how the child itself ends; `false` when there is no room for it. */
  end(json: string): boolean {
    if (!this.#put(`${MARK}{"end":${json}}\n`)) return false;
    this.#publish();
    return true;
  }

  #commit(seq: number, now: number): void {
    this.#times[(seq % this.#shape.times) * 2 + 1] = now;
    this.#next = seq + 1;
    if (this.#file) this.#syncTimes(seq);
    this.#publish();
  }

  /** Only now what was put counts. */
  #publish(): void {
    if (this.#file) this.#syncText();
    Atomics.store(this.#header, WRITTEN, this.#written);
    if (this.#file) this.#syncHeader();
  }

  #room(): number {
    return this.#text.length - ((this.#written - this.#read) >>> 0);
  }

  /** Puts a short plain text, when it is its turn and fits. */
  #putShort(seq: number, text: string): boolean {
    const size = text.length + 1;
    if (seq !== this.#next || this.#at + size > this.#text.length || size > this.#room())
      return false;
    const bytes = this.#text;
    let at = this.#at;
    for (let i = 0; i < text.length; i += 1) {
      const code = text.charCodeAt(i);
      if (code < SPACE || code >= DELETE) return false;
      bytes[at++] = code;
    }
    bytes[at++] = NEWLINE;
    this.#advance(size, at);
    return true;
  }

  #put(lines: string): boolean {
    const size = Buffer.byteLength(lines);
    const ring = this.#text.length;
    const blanks = this.#at + size > ring ? ring - this.#at : 0;
    const kept = size > ENTRY_BYTES ? this.#reserve : 0;
    if (size > LONG_BYTES || blanks + size + kept > this.#room()) return false;
    if (blanks > 0) {
      this.#text.fill(BLANK, this.#at);
      this.#advance(blanks, ring);
    }
    this.#text.write(lines, this.#at);
    this.#advance(size, this.#at + size);
    return true;
  }

  #advance(size: number, at: number): void {
    this.#written = (this.#written + size) >>> 0;
    this.#at = at === this.#text.length ? 0 : at;
  }

  #parentWord(word: number): number {
    if (!this.#file) return Atomics.load(this.#header, word);
    const { fd, offset } = this.#file;
    const value = new Int32Array(1);
    readSync(fd, value, 0, 4, offset + word * 4);
    return value[0]!;
  }

  // The rest is for memory that is not shared itself.

  #synced = 0;

  #sync(seq: number): void {
    this.#syncTimes(seq);
    this.#syncHeader();
  }

  /** All words but the parent's own. */
  #syncHeader(): void {
    this.#write(this.#header.byteOffset, RECALLED * 4);
  }

  #syncTimes(seq: number): void {
    const at = (seq % this.#shape.times) * TIME_BYTES;
    this.#write(this.#times.byteOffset + at, TIME_BYTES);
  }

  /** From where the last one ended to here, around the end of the ring. */
  #syncText(): void {
    const { byteOffset, length } = this.#text;
    if (this.#at < this.#synced) {
      this.#write(byteOffset + this.#synced, length - this.#synced);
      this.#synced = 0;
    }
    this.#write(byteOffset + this.#synced, this.#at - this.#synced);
    this.#synced = this.#at;
  }

  #write(start: number, bytes: number): void {
    if (bytes === 0) return;
    const { fd, offset } = this.#file!;
    const from = new Uint8Array(this.#header.buffer, start, bytes);
    writeSync(fd, from, 0, bytes, offset + start - this.#header.byteOffset);
  }
}
