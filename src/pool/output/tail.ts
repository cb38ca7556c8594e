/** Keeps the last bytes of an output of any length. */

const FIRST_BYTES = 1024;

export class Tail {
  readonly #limit: number;
  /** Up to twice as long as the limit, so that each byte is moved once on average. */
  #buffer = Buffer.alloc(0);
  #length = 0;
  #cut = 0;

  /** @param limit - how many bytes to keep */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many bytes were dropped. */
  get cut(): number {
    return this.#cut + Math.max(0, this.#length - this.#limit);
  }

  push(bytes: Buffer): void {
    const excess = bytes.length - this.#limit;
    if (excess >= 0) {
      this.#cut += this.#length + excess;
      this.#length = 0;
      return this.#append(bytes.subarray(excess));
    }
    this.#append(bytes);
  }

  /** Returns the kept bytes as text; invalid UTF-8 is replaced. */
  text(): string {
    return this.#kept().toString();
  }

  /** Returns the same text, after a note of how many bytes were dropped. */
  markedText(): string {
    const { cut } = this;
    return cut === 0 ? this.text() : `[... ${cut} bytes cut ...]\n${this.text()}`;
  }

  #kept(): Buffer {
    const kept = this.#buffer.subarray(Math.max(0, this.#length - this.#limit), this.#length);
    if (this.cut === 0) return kept;
    // Do not start in the middle of a character: skip up to three continuation bytes.
    let start = 0;
    while (start < 3 && (kept[start]! & 0xc0) === 0x80) start += 1;
    return kept.subarray(start);
  }

  #append(bytes: Buffer): void {
    if (this.#length + bytes.length > this.#buffer.length) this.#makeRoom(bytes.length);
    bytes.copy(this.#buffer, this.#length);
    this.#length += bytes.length;
  }

  /** @param bytes - at most `#limit` */
  #makeRoom(bytes: number): void {
    const most = 2 * this.#limit;
    const excess = this.#length - this.#limit;
    if (this.#length + bytes > most) {
      this.#buffer.copyWithin(0, excess, this.#length);
      this.#length -= excess;
      this.#cut += excess;
    }
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const size = Math.min(most, Math.max(needed, FIRST_BYTES, 2 * this.#buffer.length));
    const larger = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
