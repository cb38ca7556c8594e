/** The child's end of the ledger (wire/ledger.ts): records begun items and outcomes in memory the parent reads. */
import { readSync, writeSync } from "node:fs";
import { stringify } from "../../system/json.js";
import {
  BEGUN,
  BLANK,
  checkCode,
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

/** Memory with a slot's bytes at `offset`. If the memory is not shared with the parent, `file` is. */
export interface LedgerMemory {
  readonly buffer: ArrayBufferLike;
  readonly offset: number;
  readonly file?: { readonly fd: number; readonly offset: number } | undefined;
}

/** Texts up to this length, short entries with two more characters, are written by character: faster than a call into C++. */
const SHORT_TEXT = ENTRY_BYTES - 2;
/** Longer texts are cheaper as files, which need no escaping and no parsing. */
const LONG_BYTES = 64 * 1024;
const SPACE = 0x20;
const DELETE = 0x7f;
const NEWLINE = 0x0a;
const PLAIN = /^[\u0020-\u007e]*$/;

export class LedgerWriter {
  readonly #header: Int32Array;
  readonly #times: Float64Array;
  /** The ring buffer. */
  readonly #text: Buffer;
  readonly #shape: LedgerShape;
  readonly #file: LedgerMemory["file"];
  readonly #reserve: number;
  /** Position in the ring of the next byte. */
  #at = 0;
  #written = 0;
  /** Bytes that the parent has read. */
  #read = 0;
  /** The item to which the parent will assign the next entry. */
  #next = 0;
  /** The last item was not begun, because the parent had recalled it. */
  #wasRecalled = false;

  constructor({ buffer, offset, file }: LedgerMemory, shape: LedgerShape) {
    this.#shape = shape;
    this.#reserve = reserveBytes(shape);
    this.#file = file;
    this.#header = new Int32Array(buffer, offset, HEADER_BYTES / 4);
    this.#times = new Float64Array(buffer, offset + HEADER_BYTES, shape.times * 2);
    this.#text = Buffer.from(buffer as ArrayBuffer, offset + textStart(shape), textBytes(shape));
  }

  /** Records how far the parent has read: bytes before that may be overwritten. */
  readUpTo(bytes: number): void {
    this.#read = bytes;
  }

  /** Returns how often the parent has read this result buffer. */
  released(buffer: number): number {
    return this.#parentWord(RELEASED + buffer);
  }

  /** Records that an item begins at `now`; `false` if the parent has recalled all items not yet begun, so this one. */
  begin(seq: number, now: number): boolean {
    // Items that arrive while the word is still set are not counted as begun: the parent, which reads how many are begun right
    // after it has set the word, would take those before them, which were given back, for begun.
    if (this.#wasRecalled && this.#parentWord(RECALLED) !== 0) return false;
    this.#times[(seq % this.#shape.times) * 2] = now;
    // Store BEGUN, then load RECALLED. The parent does the reverse, so at least one of the two sees the other's store.
    Atomics.store(this.#header, BEGUN, seq + 1);
    if (this.#file) this.#sync(seq);
    this.#wasRecalled = this.#parentWord(RECALLED) !== 0;
    return !this.#wasRecalled;
  }

  /** Records a string result; `false` if it does not fit. */
  finishText(seq: number, text: string, now: number): boolean {
    if (text.length <= SHORT_TEXT && this.#putShort(seq, text)) {
      this.#commit(seq, now);
      return true;
    }
    if (text.length > LONG_BYTES) return false;
    if (seq !== this.#next || !PLAIN.test(text)) return this.finish(seq, stringify(text), now);
    if (!this.#put(`${check(seq)}${text}\n`)) return false;
    this.#commit(seq, now);
    return true;
  }

  /** Records the outcome of an item, as JSON; `false` if it does not fit. */
  finish(seq: number, json: string, now: number): boolean {
    const turn = seq === this.#next ? "" : `${MARK}${seq}\n`;
    if (!this.#put(`${turn}${check(seq)}${MARK}${json}\n`)) return false;
    this.#commit(seq, now);
    return true;
  }

  /** Records how the child itself ends; `false` if it does not fit. */
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

  /** Makes the bytes put so far visible to the parent. */
  #publish(): void {
    if (this.#file) this.#syncText();
    Atomics.store(this.#header, WRITTEN, this.#written);
    if (this.#file) this.#syncHeader();
  }

  #room(): number {
    return this.#text.length - ((this.#written - this.#read) >>> 0);
  }

  /** Puts a short plain text if the item is next in turn and the text fits. */
  #putShort(seq: number, text: string): boolean {
    const size = text.length + 2;
    if (seq !== this.#next || this.#at + size > this.#text.length || size > this.#room())
      return false;
    const bytes = this.#text;
    let at = this.#at;
    bytes[at++] = checkCode(seq);
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

  // The rest is for memory that is not shared: its changes are written to the file.

  #synced = 0;

  #sync(seq: number): void {
    this.#syncTimes(seq);
    this.#syncHeader();
  }

  /** Writes the child's words of the header; those from RECALLED on are the parent's. */
  #syncHeader(): void {
    this.#write(this.#header.byteOffset, RECALLED * 4);
  }

  #syncTimes(seq: number): void {
    const at = (seq % this.#shape.times) * TIME_BYTES;
    this.#write(this.#times.byteOffset + at, TIME_BYTES);
  }

  /** Writes the text since the last call, which may wrap around the end of the ring. */
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

function check(seq: number): string {
  return String.fromCharCode(checkCode(seq));
}
