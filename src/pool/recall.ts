/**
 * Takes tasks back from a child that has not begun them. The parent sets a word in the ledger that the child reads
 * before each item; the child is given no more tasks until it has acknowledged that.
 */
import { Breach } from "../wire/breach.js";
import type { Ledger } from "../wire/ledger.js";
import type { Collector } from "./collector.js";
import type { TaskList } from "./task-list.js";

/** How often in a row a child may return all its items, unasked and without having run any. */
const MAX_RETURNS = 10;

export class Recall {
  readonly #ledger: Ledger;
  readonly #tasks: TaskList;
  readonly #collector: Collector;
  #isPending = false;
  #returns = 0;

  constructor(ledger: Ledger, tasks: TaskList, collector: Collector) {
    this.#ledger = ledger;
    this.#tasks = tasks;
    this.#collector = collector;
  }

  /** Whether the child has not acknowledged a recall yet. */
  get isPending(): boolean {
    return this.#isPending;
  }

  /** Recalls what the child has not begun; returns how many items it has begun. */
  begin(): number {
    this.#isPending = true;
    // The parent writes the word, then reads `begun`; the child writes `begun`, then reads the word: one sees the
    // other.
    this.#ledger.recall(true);
    return this.#collector.begun();
  }

  /** The child has acknowledged: it has dropped the tasks. */
  acknowledged(): void {
    if (!this.#isPending) return;
    this.#isPending = false;
    this.#ledger.recall(false);
  }

  /** The child has run items. */
  madeProgress(): void {
    this.#returns = 0;
  }

  /** @throws Breach if the child cannot return these items, or returns them again and again */
  checkReturned({ from, to }: { readonly from: number; readonly to: number }): void {
    const begun = this.#tasks.upTo(Math.min(to, this.#collector.begun()));
    // The child counts the item as begun at which it found that all are recalled.
    const isWrong = begun.filter(([seq]) => seq >= from).length > 1;
    if (isWrong || from > to || to > this.#tasks.next) {
      throw new Breach(`gave back items ${from} to ${to}, which it does not have or has begun`);
    }
    if (this.#isPending) return;
    this.#returns += 1;
    if (this.#returns > MAX_RETURNS) throw new Breach("gives back all items that it gets");
    // Other code in the child may have written the word.
    this.#ledger.recall(false);
  }
}
