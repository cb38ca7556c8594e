/** Counters and gauges of the user's own, which a supervisor shows. A child that has no supervisor keeps them to itself. */
import { describe } from "../system/describe.js";

/** What is said of a counter or a gauge. */
export interface MetricOptions {
  /** What it is, in words, for those who read the metrics; up to 160 bytes. */
  readonly help?: string | undefined;
  /** Whether it is shown for each num, with a label; else as the sum of all instances. @defaultValue `false` */
  readonly byNum?: boolean | undefined;
}

/** Goes up only, also over restarts of the instance. */
export interface Counter {
  /** @param count - 1 by default; not below 0 */
  add(count?: number): void;
}

/** Goes up and down, and begins at 0 when the instance is restarted. */
export interface Gauge {
  set(value: number): void;
  /** @param change - may be below 0 */
  add(change: number): void;
}

/** Where the metrics of this child are: `values[place]`. */
export interface MetricStore {
  readonly values: Float64Array;
  place(metric: {
    readonly name: string;
    readonly type: "counter" | "gauge";
    readonly help: string;
    readonly byNum: boolean;
  }): number | undefined;
}

/** Key of `globalThis`; a global symbol, as a process may have two copies of this package. */
const KEY = Symbol.for("forkmap.metrics");

/** Of this process. */
interface Kept {
  store: MetricStore | undefined;
  /** What has counted before there was a store. */
  readonly waiting: Set<(store: MetricStore) => void>;
}

const globals = globalThis as { [KEY]?: Kept };
const kept = (globals[KEY] ??= { store: undefined, waiting: new Set() });

export function useMetrics(store: MetricStore): void {
  kept.store = store;
  for (const tell of kept.waiting) tell(store);
  kept.waiting.clear();
}

/** As Prometheus has it. */
const NAME = /^[a-zA-Z_][a-zA-Z0-9_]{0,79}$/;
const RESERVED = /^forkmap_/;

/**
 * Returns a counter, which the supervisor of this instance shows among its metrics.
 *
 * @remarks
 * It is kept in a file that is mapped into memory: to add costs some ns and no message, and nothing is lost when the instance is killed. An instance has
 * 59 counters and gauges at most; others, and those of a process without a supervisor, are not kept.
 *
 * @param name - letters, digits and underscores, at most 80; by convention it ends with `_total`
 * @throws TypeError when the name is another, or begins with `forkmap_`
 *
 * @example
 * ```ts
 * import { counter } from "forkmap/supervisor";
 *
 * const hits = counter("cache_hits_total", { help: "Answers that came out of the cache" });
 * hits.add();
 * ```
 */
export function counter(name: string, options: MetricOptions = {}): Counter {
  const cell = new Cell(name, "counter", options);
  return {
    add(count = 1) {
      if (!(count >= 0)) throw new TypeError(`Expected a counter to go up, got ${describe(count)}`);
      cell.add(count);
    },
  };
}

/**
 * Returns a gauge, which the supervisor of this instance shows among its metrics.
 *
 * @remarks
 * It begins at 0 in each child. All else is as of `counter`.
 *
 * @param name - as of `counter`
 * @throws TypeError as `counter` does
 *
 * @example
 * ```ts
 * import { gauge } from "forkmap/supervisor";
 *
 * const waiting = gauge("jobs_waiting", { byNum: true });
 * waiting.set(3);
 * ```
 */
export function gauge(name: string, options: MetricOptions = {}): Gauge {
  const cell = new Cell(name, "gauge", options);
  return {
    set: (value) => cell.set(value),
    add: (change) => cell.add(change),
  };
}

class Cell {
  readonly #definition: Parameters<MetricStore["place"]>[0];
  /** Undefined if there is no store, or no more room in it. */
  #place: number | undefined;
  #store: MetricStore | undefined;
  /** What it has come to without a store. */
  #value = 0;

  constructor(
    name: string,
    type: "counter" | "gauge",
    { help = "", byNum = false }: MetricOptions,
  ) {
    if (typeof name !== "string" || !NAME.test(name) || RESERVED.test(name)) {
      throw new TypeError(
        `Expected the name of a metric (letters, digits and underscores, not beginning with forkmap_), got ${describe(name)}`,
      );
    }
    this.#definition = { name, type, help, byNum };
  }

  add(change: number): void {
    this.#follow();
    if (this.#place !== undefined) this.#store!.values[this.#place]! += change;
    else this.#value += change;
  }

  set(value: number): void {
    this.#follow();
    if (this.#place !== undefined) this.#store!.values[this.#place] = value;
    else this.#value = value;
  }

  /** Uses the store of this process: a child that is forked gets one after the metric was made. */
  #follow(): void {
    const { store } = kept;
    if (store !== undefined && store === this.#store) return;
    if (store) this.#use(store);
    else kept.waiting.add(this.#use);
  }

  readonly #use = (store: MetricStore): void => {
    if (store === this.#store) return;
    this.#store = store;
    this.#place = store.place(this.#definition);
    if (this.#place !== undefined) store.values[this.#place]! += this.#value;
  };
}
