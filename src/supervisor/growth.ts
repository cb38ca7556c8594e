/** Whether the memory of one process only grows: the idea of Samuel Williams' memory-leak, which counts by how much each new maximum is above the last. */

/** When growth is taken for a leak. */
export interface GrowthLimit {
  /** Rises, each a sample that is higher than the highest before it. @defaultValue 20 */
  readonly samples?: number | undefined;
  /** By so many bytes in all, from where it stood when it began to rise. @defaultValue 200 MiB */
  readonly threshold?: number | undefined;
}

export const GROWTH_SAMPLES = 20;
export const GROWTH_BYTES = 200 * 2 ** 20;

/**
 * Counts rises of more than `threshold / samples` bytes above the highest sample so far, so that `samples` of them are more than `threshold`.
 *
 * @remarks
 * The memory of a program that collects garbage goes up and down: a fall between two rises means nothing. What ends a series is `samples` samples
 * without a rise, as when caches are full, or a return to where it began. What grows more slowly than that is left to a limit.
 */
export class Growth {
  #baseline = Infinity;
  #highest = 0;
  #rises = 0;
  /** Samples since the last rise. */
  #calm = 0;

  get baseline(): number {
    return this.#baseline;
  }

  get rises(): number {
    return this.#rises;
  }

  /** Returns whether it is a leak now. */
  note(size: number, { samples = GROWTH_SAMPLES, threshold = GROWTH_BYTES }: GrowthLimit): boolean {
    if (size <= this.#baseline) {
      this.#begin(size);
      return false;
    }
    if (size - this.#highest > threshold / samples) {
      this.#highest = size;
      this.#rises += 1;
      this.#calm = 0;
    } else {
      this.#calm += 1;
      if (this.#calm >= samples) this.#begin(this.#highest);
    }
    return this.#rises >= samples;
  }

  #begin(size: number): void {
    this.#baseline = size;
    this.#highest = size;
    this.#rises = 0;
    this.#calm = 0;
  }
}
