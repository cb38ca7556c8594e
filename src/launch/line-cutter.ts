/** Assembles the lines of one stream of one item from pieces of any size. */

/** A line is kept until its end has come, up to this size; a longer one is passed on in pieces of this size. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
/** A buffer up to this size is reused for the next line. */
const KEPT_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const LINE_END = Buffer.from("\n");

export class LineCutter {
  /** The beginning of a line. */
  #buffer = Buffer.alloc(0);
  #length = 0;

  /**
   * Appends the lines that `chunk` completes to `lines`, each after `prefix`.
   *
   * @param chunk - `lines` refer to its memory
   */
  push(chunk: Buffer, prefix: Buffer, lines: Buffer[]): void {
    let start = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, start)) {
      lines.push(prefix);
      this.#takeBeginning(lines);
      lines.push(chunk.subarray(start, at + 1));
      start = at + 1;
    }
    if (start === chunk.length) return;
    this.#append(chunk.subarray(start));
    if (this.#length >= MAX_LINE_BYTES) this.end(prefix, lines);
  }

  /** Appends the last line, with a newline, if it has none. */
  end(prefix: Buffer, lines: Buffer[]): void {
    if (this.#length === 0) return;
    lines.push(prefix);
    this.#takeBeginning(lines);
    lines.push(LINE_END);
  }

  #takeBeginning(lines: Buffer[]): void {
    if (this.#length === 0) return;
    lines.push(Buffer.from(this.#buffer.subarray(0, this.#length)));
    this.#length = 0;
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = Buffer.alloc(0);
  }

  #append(bytes: Buffer): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#buffer.length));
      this.#buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = larger;
    }
    bytes.copy(this.#buffer, this.#length);
    this.#length = needed;
  }
}
