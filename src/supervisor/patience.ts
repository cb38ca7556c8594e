/** How old a child must be before a monitor may replace it, so that a limit that no child can keep does not replace children for ever. */
import { keyOf } from "./cpu-totals.js";
import type { SupervisedInstance } from "./monitor.js";
import { monotonic } from "../system/monotonic.js";
import { warnOf } from "./monitor-warning.js";

/** The time doubles up to so many intervals: with the default of 10 s, some 11 minutes. */
const MOST_INTERVALS = 64;

/**
 * A child is given one interval; if it is replaced soon after that, the next of its num twice as much, and so on. One that was left alone for
 * twice its time sets it back.
 */
export class Patience {
  /** By num: how many were replaced in a row. */
  readonly #early = new Map<string, number>();
  /** Those that were left alone for long enough: what comes later is no fault of the limit. */
  readonly #settled = new WeakSet<SupervisedInstance>();
  /** When the first was judged, in monotonic ms. What was before is not known: another supervisor may have watched then. */
  #begun: number | undefined;

  /** Whether it is old enough to be replaced. */
  isOver(instance: SupervisedInstance, interval: number): boolean {
    this.#begun ??= monotonic();
    return instance.age >= this.#timeOf(instance, interval);
  }

  /** A child is replaced for this reason. */
  replaced(instance: SupervisedInstance, interval: number, reason: string): void {
    const key = keyOf(instance);
    if (this.#settled.has(instance) || this.#mayHaveSettled(instance, interval)) {
      this.#early.delete(key);
      return;
    }
    this.#early.set(key, (this.#early.get(key) ?? 0) + 1);
    const { name, num, age } = instance;
    const next = this.#timeOf(instance, interval);
    warnOf(
      `${name} num ${num} is replaced when it is only ${seconds(age)} old, and the next is given ${seconds(next)}: ${reason}. If it needs that much from the beginning, raise the limit`,
    );
  }

  /** The child has been left alone. */
  spared(instance: SupervisedInstance, interval: number): void {
    if (instance.age <= 2 * this.#timeOf(instance, interval)) return;
    this.#settled.add(instance);
    this.#early.delete(keyOf(instance));
  }

  /** Not by its age alone: on a busy machine, the first look at one that never kept the limit may come late. */
  #mayHaveSettled(instance: SupervisedInstance, interval: number): boolean {
    const isOlder = monotonic() - instance.age < this.#begun!;
    return isOlder && instance.age > 2 * this.#timeOf(instance, interval);
  }

  #timeOf(instance: SupervisedInstance, interval: number): number {
    const early = this.#early.get(keyOf(instance)) ?? 0;
    return interval * Math.min(MOST_INTERVALS, 2 ** early);
  }
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
