/**
 * How many items go into one line: as many as make a few ms of work. Fewer, and the lines cost more than the items;
 * more, and a slot could be left with work that others are free for.
 */

/** More than it takes until a child that is at one has the next, so that it need not wait. */
const TARGET_MS = 16;
/** Half of what a slot's ledger has times for, so that a batch can be on its way while another runs. */
export const MAX_BATCH = 2048;
/** What the results of one batch may take of the ledger's text; and of files, with its items. */
const TARGET_BYTES = 128 * 1024;
/** The first items of a program are often not like the others: code is cold, or hot in a cache. */
const MAX_GROWTH = 8;

export class Pace {
  #size = 1;
  #msPerItem = 0;

  get size(): number {
    return this.#size;
  }

  /** As of late; 0 as long as it is not known. */
  get msPerItem(): number {
    return this.#msPerItem;
  }

  /** So many items have taken so long, and so many bytes. */
  note(count: number, ms: number, bytes: number): void {
    this.#msPerItem = ms / count;
    // A clock of microseconds sees nothing of less.
    const byTime = (TARGET_MS * count) / Math.max(ms, 0.001);
    const bySize = (TARGET_BYTES * count) / Math.max(bytes, 1);
    const fitting = Math.floor(Math.min(byTime, bySize, MAX_BATCH));
    this.#size = Math.max(1, Math.min(fitting, this.#size * MAX_GROWTH));
  }
}
