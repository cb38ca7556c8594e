/** Whether a child holds more memory than `maxRss`. */

/** Memory is measured at most this often, as a measurement takes some 10 us. */
const INTERVAL_MS = 5;

export class MemoryLimit {
  readonly #maxRss: number;
  readonly #heldMemory: () => number;
  #checkedAt = 0;

  /** @param maxRss - in bytes */
  constructor(maxRss: number, heldMemory: () => number) {
    this.#maxRss = maxRss;
    this.#heldMemory = heldMemory;
  }

  isExceeded(now: number): boolean {
    if (now - this.#checkedAt < INTERVAL_MS) return false;
    this.#checkedAt = now;
    return this.#heldMemory() > this.#maxRss;
  }
}
