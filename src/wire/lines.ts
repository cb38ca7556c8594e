/** Newline-delimited JSON, both ends: encodes the messages of protocol.ts, and splits bytes into lines. */
import { parse, stringify } from "../system/json.js";

export function encodeLine(message: unknown): string {
  return `${stringify(message)}\n`;
}

/** Returns the JSON object that a line is; `undefined` for any other line. */
export function objectIn(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Cuts a byte stream into lines. */
export class ByteLines {
  /** The beginning of an unfinished line. Its capacity doubles, so that a line in many pieces is copied few times. */
  #rest = Buffer.alloc(0);
  #length = 0;

  /** Length of the unfinished line in bytes. */
  get pending(): number {
    return this.#length;
  }

  /** The unfinished line so far; only valid until the next `push`. */
  get rest(): Buffer {
    return this.#rest.subarray(0, this.#length);
  }

  /**
   * Returns the lines that `chunk` completes, without their newlines.
   *
   * @param chunk - the returned lines may share its memory
   */
  push(chunk: Buffer): Buffer[] {
    const lines: Buffer[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const piece = chunk.subarray(start, end);
      lines.push(this.#length === 0 ? piece : this.#join(piece));
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
    return lines;
  }

  #join(last: Buffer): Buffer {
    this.#keep(last);
    const line = this.#rest.subarray(0, this.#length);
    this.#rest = Buffer.alloc(0);
    this.#length = 0;
    return line;
  }

  #keep(piece: Buffer): void {
    const needed = this.#length + piece.length;
    if (needed > this.#rest.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#length));
      this.#rest.copy(larger, 0, 0, this.#length);
      this.#rest = larger;
    }
    piece.copy(this.#rest, this.#length);
    this.#length = needed;
  }
}

/** Cuts a byte stream into lines of text. */
export class LineSplitter {
  readonly #lines = new ByteLines();

  /** Length of the unfinished line in bytes. */
  get pending(): number {
    return this.#lines.pending;
  }

  /** Returns the lines that `chunk` completes. */
  push(chunk: Buffer): string[] {
    return this.#lines.push(chunk).map((line) => line.toString());
  }
}

const NEWLINE = 10;
