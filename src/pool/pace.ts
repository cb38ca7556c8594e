/**
 * Decides how many items go into one line: as many as make a few ms of work. With fewer, the lines cost more than the
 * items; with more, one slot could hold work while other slots are free.
 */

/** Longer than it takes to send the next batch, so that a child has it before the current one is done. */
const TARGET_MS = 16;
/** Half of the items whose times fit into a slot's ledger, so that a batch can be on its way while another runs. */
export const MAX_BATCH = 2048;
/** The results of a batch may take this much of the ledger's text; its long results and items, this much of files. */
const TARGET_BYTES = 128 * 1024;
/** The growth from batch to batch: a program's first items often differ from the others (cold code, or a hot cache). */
const MAX_GROWTH = 8;

export class Pace {
  #size = 1;
  #msPerItem = 0;

  get size(): number {
    return this.#size;
  }

  /** Average of the last batch; 0 until it is known. */
  get msPerItem(): number {
    return this.#msPerItem;
  }

  /** Notes that `count` items took `ms` and `bytes`. */
  note(count: number, ms: number, bytes: number): void {
    this.#msPerItem = ms / count;
    // The clock has a resolution of a microsecond.
    const byTime = (TARGET_MS * count) / Math.max(ms, 0.001);
    const bySize = (TARGET_BYTES * count) / Math.max(bytes, 1);
    const fitting = Math.floor(Math.min(byTime, bySize, MAX_BATCH));
    this.#size = Math.max(1, Math.min(fitting, this.#size * MAX_GROWTH));
  }
}
