/** The last bytes of what is printed, however much that is. */

const FIRST_BYTES = 1024;

export class Tail {
  readonly #limit: number;
  /** Up to twice as long as what is kept, so that each byte is moved once on average. */
  #buffer = Buffer.alloc(0);
  #length = 0;
  #cut = 0;

  /** @param limit - bytes that are kept */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes that are not there any more. */
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

  /** What is left as text; bytes that are no UTF-8 are replaced. */
  text(): string {
    return this.#kept().toString();
  }

  /** The same, and how much is missing before it. */
  markedText(): string {
    const { cut } = this;
    return cut === 0 ? this.text() : `[... ${cut} bytes cut ...]\n${this.text()}`;
  }

  #kept(): Buffer {
    const kept = this.#buffer.subarray(Math.max(0, this.#length - this.#limit), this.#length);
    if (this.cut === 0) return kept;
    // Not from the middle of a character: at most three bytes that only continue one.
    let start = 0;
    while (start < 3 && (kept[start]! & 0xc0) === 0x80) start += 1;
    return kept.subarray(start);
  }

  #append(bytes: Buffer): void {
    if (this.#length + bytes.length > this.#buffer.length) this.#makeRoom(bytes.length);
    bytes.copy(this.#buffer, this.#length);
    this.#length += bytes.length;
  }

  /** For at most as many bytes as are kept. */
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
