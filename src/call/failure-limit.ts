/** Counts the succeeded and failed items of a call, and says when so many have failed that no more may start. */
import type { ResolvedOptions } from "../options.js";

/** With fewer items the ratio says little. */
const MIN_ITEMS_FOR_RATIO = 10;

export class FailureLimit {
  readonly #failures: number;
  readonly #ratio: number;
  #succeeded = 0;
  #failed = 0;

  constructor({ halt, stopOnError }: Pick<ResolvedOptions, "halt" | "stopOnError">) {
    const { failures = Infinity, ratio = Infinity } = halt ?? {
      failures: stopOnError ? 1 : Infinity,
    };
    this.#failures = failures;
    this.#ratio = ratio;
  }

  succeeded(): void {
    this.#succeeded += 1;
  }

  failed(): void {
    this.#failed += 1;
  }

  get isReached(): boolean {
    const done = this.#succeeded + this.#failed;
    return (
      this.#failed >= this.#failures ||
      (done >= MIN_ITEMS_FOR_RATIO && this.#failed / done >= this.#ratio)
    );
  }
}
