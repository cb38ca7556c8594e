/** Puts together the lines of one stream of one item, which come in pieces of any size, and hands on whole ones. */

/** So long a line is kept until its end is there; of a longer one, each so many bytes are a line. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
/** A buffer is kept for the next line up to this size. */
const KEPT_BYTES = 64 * 1024;
const NEWLINE = 0x0a;
const LINE_END = Buffer.from("\n");

export class LineCutter {
  /** The beginning of a line. */
  #buffer = Buffer.alloc(0);
  #length = 0;

  /**
   * Adds the lines that `chunk` completes to `lines`, each with `prefix` before it.
   *
   * @param chunk - `lines` refer to it
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

  /** Adds the last line when it has no end of its own. */
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
