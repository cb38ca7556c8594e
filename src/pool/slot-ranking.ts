/**
 * Slots in the order in which they are to be used: the one with the fewest tasks first, among equals the lowest num. A
 * binary heap: a change costs a step for each power of two of the number of slots, where a search would cost one for each slot.
 */
import type { Slot } from "./slot.js";

/** A slot as it was when it was last looked at. It is in at most one ranking. */
export class RankedSlot {
  readonly slot: Slot;
  /** How many tasks its child had. */
  load = 0;
  /** @internal Its position in the heap. */
  at = -1;
  /** @internal */
  ranking: SlotRanking | undefined;

  constructor(slot: Slot) {
    this.slot = slot;
  }
}

export class SlotRanking {
  readonly #heap: RankedSlot[] = [];

  get first(): RankedSlot | undefined {
    return this.#heap[0];
  }

  /** Puts a slot where its load belongs, whichever ranking it was in. */
  place(entry: RankedSlot, load: number): void {
    if (entry.ranking === this && entry.load === load) return;
    entry.ranking?.remove(entry);
    entry.load = load;
    entry.ranking = this;
    this.#heap.push(entry);
    this.#rise(entry, this.#heap.length - 1);
  }

  remove(entry: RankedSlot): void {
    if (entry.ranking !== this) return;
    const { at } = entry;
    const last = this.#heap.pop()!;
    entry.ranking = undefined;
    entry.at = -1;
    if (last === entry) return;
    this.#rise(last, at);
    this.#sink(last);
  }

  #rise(entry: RankedSlot, from: number): void {
    let at = from;
    while (at > 0) {
      const above = this.#heap[(at - 1) >> 1]!;
      if (isBefore(above, entry)) break;
      this.#set(above, at);
      at = (at - 1) >> 1;
    }
    this.#set(entry, at);
  }

  #sink(entry: RankedSlot): void {
    let { at } = entry;
    for (;;) {
      const left = this.#heap[2 * at + 1];
      const right = this.#heap[2 * at + 2];
      const below = left && right && isBefore(right, left) ? right : left;
      if (!below || isBefore(entry, below)) break;
      const next = below.at;
      this.#set(below, at);
      at = next;
    }
    this.#set(entry, at);
  }

  #set(entry: RankedSlot, at: number): void {
    this.#heap[at] = entry;
    entry.at = at;
  }
}

function isBefore(one: RankedSlot, other: RankedSlot): boolean {
  return one.load === other.load ? one.slot.num < other.slot.num : one.load < other.load;
}
