/** The monitor that sums up what instances have noted of themselves: how busy their event loops are, their items, and counters and gauges of their own. */
import { check, milliseconds } from "../option-rules.js";
import { Monitor, type MonitorContext } from "./monitor.js";
import { OWN_MODULE } from "../worker/locate-worker.js";

/** Options of `new UtilizationMonitor(options)`. */
export interface UtilizationMonitorOptions {
  /** Time between two looks, in ms. @defaultValue 10_000 */
  readonly interval?: number | undefined;
}

/** One metric over all instances of a name that have noted it. */
export interface MetricSummary {
  /** How many have noted it. */
  readonly instances: number;
  readonly sum: number;
  readonly min: number;
  readonly mean: number;
  readonly max: number;
}

/** The metrics of all instances of one name. */
export interface UtilizationSummary {
  readonly pool: string | undefined;
  readonly name: string;
  readonly instances: number;
  /** By the metric's name, such as `forkmap_event_loop_utilization`. */
  readonly metrics: Readonly<Record<string, MetricSummary>>;
}

/**
 * Sums up the metrics of all instances of a name: the sum is what counts for a counter, min, mean and max for the utilization of event loops and their delay.
 *
 * @remarks
 * `status` shows the last summaries. Extend it and override `emit` to pass each on, or to act on it.
 *
 * @example
 * ```ts
 * import { UtilizationMonitor, type UtilizationSummary } from "forkmap/supervisor";
 *
 * export class Busy extends UtilizationMonitor {
 *   override emit({ name, metrics }: UtilizationSummary): void {
 *     const mean = metrics["forkmap_event_loop_utilization"]?.mean ?? 0;
 *     if (mean > 0.9) console.error(`The event loops of ${name} are busy: ${mean}`);
 *   }
 * }
 *
 * console.log(new Busy().interval); // 10000
 * ```
 */
export class UtilizationMonitor extends Monitor {
  /** @internal */
  static readonly [OWN_MODULE]: string = import.meta.url;
  override readonly interval: number;

  #summaries: readonly UtilizationSummary[] = [];

  /** @throws TypeError for an option that does not exist, or a value that does not fit */
  constructor(options: UtilizationMonitorOptions = {}) {
    super();
    check(options, RULES, "", (name) => `Unknown option \`${name}\` of a UtilizationMonitor`);
    this.interval = options.interval ?? DEFAULT_INTERVAL_MS;
  }

  /** Is given the summary of each name; the next one waits for it. */
  emit(_summary: UtilizationSummary): void | Promise<void> {}

  override async run(context: MonitorContext): Promise<void> {
    this.#summaries = summariesOf(context);
    for (const summary of this.#summaries) await this.emit(summary);
  }

  override status(): object {
    return { names: this.#summaries };
  }
}

function summariesOf(context: MonitorContext): UtilizationSummary[] {
  const names = new Map<string, Name>();
  for (const instance of context.instances) {
    const { pool, name } = instance;
    const key = JSON.stringify([pool ?? null, name]);
    const found = names.get(key) ?? { pool, name, instances: 0, values: new Map() };
    names.set(key, found);
    found.instances += 1;
    for (const [metric, value] of context.metricsOf(instance)) {
      // What is not a number, such as a utilization before the first measurement, would make all of them none.
      if (!Number.isFinite(value)) continue;
      const values = found.values.get(metric);
      if (values) values.push(value);
      else found.values.set(metric, [value]);
    }
  }
  return Array.from(names.values(), ({ pool, name, instances, values }) => ({
    pool,
    name,
    instances,
    metrics: Object.fromEntries(
      Array.from(values, ([metric, those]) => [metric, summaryOf(those)]),
    ),
  }));
}

interface Name {
  readonly pool: string | undefined;
  readonly name: string;
  instances: number;
  readonly values: Map<string, number[]>;
}

function summaryOf(values: readonly number[]): MetricSummary {
  const sum = values.reduce((a, b) => a + b, 0);
  return {
    instances: values.length,
    sum,
    min: Math.min(...values),
    mean: sum / values.length,
    max: Math.max(...values),
  };
}

const DEFAULT_INTERVAL_MS = 10_000;
const RULES = { interval: milliseconds(1) };
