/** Gives out numbers from 0: always the lowest free one, so that they stay few however long the program runs. */
export class Nums {
  readonly #taken = new Set<number>();

  /** Returns the lowest free number. */
  take(): number {
    let num = 0;
    while (this.#taken.has(num)) num += 1;
    this.#taken.add(num);
    return num;
  }

  /** Gives a number back; once more does no harm. */
  give(num: number): void {
    this.#taken.delete(num);
  }
}
