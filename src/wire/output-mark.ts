/**
 * Marks in the output of a child with many items: each names the item that the bytes after it belong to. Both ends. A
 * mark is an unguessable random number, new for every child, so no printed bytes are mistaken for a mark.
 *
 *   bytes of item 3 ... | mark (16 bytes) | 4 as 32-bit word | bytes of item 4 ...
 */
import { randomBytes } from "node:crypto";

export type OutputName = "stdout" | "stderr";

const MARK_BYTES = 16;
const SEQ_BYTES = 4;
/** Never part of UTF-8, so no byte of a text looks like the beginning of a mark and has to be held back. */
const FIRST_BYTE = 0xff;

/** Returns a new mark in hexadecimal, as the child receives it. */
export function newMark(): string {
  const mark = randomBytes(MARK_BYTES);
  mark[0] = FIRST_BYTE;
  return mark.toString("hex");
}

/** Encodes marks, always in the same buffer. */
export class MarkEncoder {
  readonly #bytes = Buffer.alloc(MARK_BYTES + SEQ_BYTES);

  constructor(mark: string) {
    this.#bytes.write(mark, "hex");
  }

  encode(seq: number): Buffer {
    this.#bytes.writeUInt32LE(seq, MARK_BYTES);
    return this.#bytes;
  }
}

export interface MarkHandler {
  /** The bytes that follow belong to this item. */
  mark(seq: number): void;
  /** @param piece - only valid during the call */
  bytes(piece: Buffer): void;
}

/** Separates the marks of a byte stream from its other bytes. */
export class MarkSplitter {
  readonly #mark: Buffer;
  readonly #handler: MarkHandler;
  /** The last bytes received, when a mark may begin there. */
  #rest: Buffer | undefined;

  constructor(mark: string, handler: MarkHandler) {
    this.#mark = Buffer.from(mark, "hex");
    this.#handler = handler;
  }

  push(chunk: Buffer): void {
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = undefined;
    let start = 0;
    for (let at = bytes.indexOf(this.#mark); at !== -1; at = bytes.indexOf(this.#mark, start)) {
      const end = at + MARK_BYTES + SEQ_BYTES;
      this.#give(bytes, start, at);
      if (end > bytes.length) return this.#keep(bytes, at);
      this.#handler.mark(bytes.readUInt32LE(at + MARK_BYTES));
      start = end;
    }
    const at = this.#beginning(bytes, start);
    this.#give(bytes, start, at);
    if (at < bytes.length) this.#keep(bytes, at);
  }

  /** Called at the end of the stream: bytes held back were no mark. */
  end(): void {
    if (this.#rest) this.#handler.bytes(this.#rest);
    this.#rest = undefined;
  }

  #give(bytes: Buffer, start: number, end: number): void {
    if (end > start) this.#handler.bytes(bytes.subarray(start, end));
  }

  /** Copies the bytes: the caller may reuse its buffer. */
  #keep(bytes: Buffer, from: number): void {
    this.#rest = Buffer.from(bytes.subarray(from));
  }

  /** Returns where an incomplete mark may begin, or the length of `bytes`. */
  #beginning(bytes: Buffer, start: number): number {
    const { length } = bytes;
    let at = Math.max(start, length - MARK_BYTES + 1);
    for (at = bytes.indexOf(FIRST_BYTE, at); at !== -1; at = bytes.indexOf(FIRST_BYTE, at + 1)) {
      if (this.#mark.subarray(0, length - at).equals(bytes.subarray(at))) return at;
    }
    return length;
  }
}
