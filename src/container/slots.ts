/**
 * The slots of one call: places where one child runs at a time, each with a number. The lowest free number is taken,
 * whoever waits longest is served first, and a slot can be given back once.
 */

/** A place where one child runs. */
export interface Slot {
  readonly num: number;
  /** How many children have run in it, the present one included. */
  readonly generation: number;
}

export class Slots {
  readonly #generations: number[] = [];
  readonly #busy: boolean[] = [];
  readonly #waiting: ((slot: Slot) => void)[] = [];
  readonly #limit: number;
  #lowest = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Resolves with the lowest free slot as soon as there is one. */
  acquire(): Promise<Slot> {
    return new Promise((resolve) => {
      const slot = this.#take();
      if (slot) resolve(slot);
      else this.#waiting.push(resolve);
    });
  }

  /** Gives a slot back; a second time does nothing. */
  release(slot: Slot): void {
    const { num, generation } = slot;
    if (!this.#busy[num] || this.#generations[num] !== generation) return;
    this.#busy[num] = false;
    this.#lowest = Math.min(this.#lowest, num);
    if (this.#waiting.length > 0) this.#waiting.shift()!(this.#take()!);
  }

  #take(): Slot | undefined {
    while (this.#busy[this.#lowest]) this.#lowest += 1;
    const num = this.#lowest;
    if (num >= this.#limit) return undefined;
    this.#busy[num] = true;
    const generation = (this.#generations[num] ?? 0) + 1;
    this.#generations[num] = generation;
    return { num, generation };
  }
}
