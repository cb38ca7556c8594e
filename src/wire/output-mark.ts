/**
 * Whose output it is: marks in what a child for many items prints, each of which says which item the bytes after it are
 * of. Both ends. A mark is a number nobody can guess, made anew for every child, so nothing printed is taken for one.
 *
 *   bytes of item 3 ... | mark (16 bytes) | 4 as 32-bit word | bytes of item 4 ...
 */
import { randomBytes } from "node:crypto";

export type OutputName = "stdout" | "stderr";

const MARK_BYTES = 16;
const SEQ_BYTES = 4;
/** Never part of UTF-8: of what is text, nothing has to be held back because a mark may begin there. */
const FIRST_BYTE = 0xff;

/** A new mark, as it goes to the child. */
export function newMark(): string {
  const mark = randomBytes(MARK_BYTES);
  mark[0] = FIRST_BYTE;
  return mark.toString("hex");
}

/** Writes marks into a buffer of its own, the same each time. */
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
  /** What follows is of this item. */
  mark(seq: number): void;
  /** Only valid during the call. */
  bytes(piece: Buffer): void;
}

/** Takes the marks out of a byte stream. */
export class MarkSplitter {
  readonly #mark: Buffer;
  readonly #handler: MarkHandler;
  /** What may be the beginning of a mark. */
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

  /** Nothing more comes. */
  end(): void {
    if (this.#rest) this.#handler.bytes(this.#rest);
    this.#rest = undefined;
  }

  #give(bytes: Buffer, start: number, end: number): void {
    if (end > start) this.#handler.bytes(bytes.subarray(start, end));
  }

  /** A copy: the caller may fill the same buffer again. */
  #keep(bytes: Buffer, from: number): void {
    this.#rest = Buffer.from(bytes.subarray(from));
  }

  /** Where a mark may begin that is not whole yet; the end where none does. */
  #beginning(bytes: Buffer, start: number): number {
    const { length } = bytes;
    let at = Math.max(start, length - MARK_BYTES + 1);
    for (at = bytes.indexOf(FIRST_BYTE, at); at !== -1; at = bytes.indexOf(FIRST_BYTE, at + 1)) {
      if (this.#mark.subarray(0, length - at).equals(bytes.subarray(at))) return at;
    }
    return length;
  }
}
