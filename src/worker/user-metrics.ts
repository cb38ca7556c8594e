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
  /**
   * @param count - 1 by default
   * @throws TypeError when it is no number, or below 0
   */
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

/** Of this process, by name. */
interface Kept {
  store: MetricStore | undefined;
  readonly definitions: Map<string, MetricDefinition>;
  /** What metrics have come to without a store. */
  readonly waiting: Map<string, number>;
}

type MetricDefinition = Parameters<MetricStore["place"]>[0];

const globals = globalThis as { [KEY]?: Kept };
const kept = (globals[KEY] ??= { store: undefined, definitions: new Map(), waiting: new Map() });

export function useMetrics(store: MetricStore): void {
  kept.store = store;
  for (const [name, value] of kept.waiting) {
    const place = store.place(kept.definitions.get(name)!);
    // A gauge has been blanked, a counter may go on from the child before.
    if (place !== undefined) store.values[place]! += value;
  }
  kept.waiting.clear();
}

/** As Prometheus has it. */
const NAME = /^[a-zA-Z_][a-zA-Z0-9_]{0,79}$/;
const RESERVED = /^forkmap_/;
/** As many as a store has room for: names may be made of what users send. */
const MAX_NAMES = 59;

/**
 * Returns a counter, which the supervisor of this instance shows among its metrics.
 *
 * @remarks
 * It is kept in a file that is mapped into memory: to add costs some ns and no message, and nothing is lost when the instance is killed. An instance has
 * 59 counters and gauges at most; others, and those of a process without a supervisor, are not kept.
 *
 * @param name - letters, digits and underscores, at most 80; by convention it ends with `_total`
 * @throws TypeError when the name is another, begins with `forkmap_`, or is that of a gauge
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
      if (!Number.isFinite(count) || count < 0)
        throw new TypeError(`Expected a counter to go up by a number, got ${describe(count)}`);
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
    set: (value) => cell.set(checkNumber(value)),
    add: (change) => cell.add(checkNumber(change)),
  };
}

function checkNumber(value: unknown): number {
  if (Number.isFinite(value)) return value as number;
  throw new TypeError(`Expected a gauge to be a number, got ${describe(value)}`);
}

class Cell {
  readonly #name: string;
  #store: MetricStore | undefined;
  /** In the store; undefined if there is no more room. */
  #place: number | undefined;

  constructor(
    name: string,
    type: "counter" | "gauge",
    { help = "", byNum = false, ...others }: MetricOptions,
  ) {
    if (typeof name !== "string" || !NAME.test(name) || RESERVED.test(name)) {
      throw new TypeError(
        `Expected the name of a metric (letters, digits and underscores, not beginning with forkmap_), got ${describe(name)}`,
      );
    }
    const known = kept.definitions.get(name);
    const extra = Object.keys(others)[0];
    if (extra !== undefined)
      throw new TypeError(
        `Unknown option \`${extra}\` of the ${type} ${name}. There are: help, byNum`,
      );
    if (known && known.type !== type)
      throw new TypeError(
        `Expected another name for the ${type}: ${name} is a ${known.type} already`,
      );
    if (!known && kept.definitions.size < MAX_NAMES)
      kept.definitions.set(name, { name, type, help, byNum });
    this.#name = name;
  }

  add(change: number): void {
    if (this.#isStored()) this.#store!.values[this.#place!]! += change;
    else this.#wait((kept.waiting.get(this.#name) ?? 0) + change);
  }

  set(value: number): void {
    if (this.#isStored()) this.#store!.values[this.#place!] = value;
    else this.#wait(value);
  }

  /** A child gets a store some time after its start, or never. */
  #wait(value: number): void {
    if (!kept.store && kept.definitions.has(this.#name)) kept.waiting.set(this.#name, value);
  }

  #isStored(): boolean {
    const { store } = kept;
    if (store !== this.#store) {
      this.#store = store;
      const definition = kept.definitions.get(this.#name);
      this.#place = definition && store?.place(definition);
    }
    return this.#place !== undefined;
  }
}
