/** Metrics through OpenTelemetry, for programs that have set it up in the supervisor's process; without its API nothing happens. */
import type * as Api from "@opentelemetry/api";
import type { Family } from "./family-page.js";
import { INSTANCES, type MetricsSource, MetricFamilies } from "./metric-families.js";

/**
 * Gives metrics to the meter provider of this process whenever it collects.
 *
 * @returns stops that; undefined if `@opentelemetry/api` is not installed
 */
export async function observeByOpenTelemetry(
  source: MetricsSource,
  families = new MetricFamilies(),
): Promise<(() => void) | undefined> {
  const api = await loadApi();
  if (!api) return undefined;
  // Until a provider is set, the API gives a meter that does nothing, and that stays so: it is asked for here, and not when this is loaded.
  const instruments = new Instruments(api.metrics.getMeter("forkmap"), source, families);
  await instruments.start();
  return () => instruments.stop();
}

/** What was found, if it was looked for: to find out that it is not installed takes long. */
let found: Promise<typeof Api | undefined> | undefined;

/** Returns undefined if it is not installed. */
export function loadApi(): Promise<typeof Api | undefined> {
  found ??= import("@opentelemetry/api").catch(() => undefined);
  return found;
}

class Instruments {
  readonly #meter: Api.Meter;
  readonly #source: MetricsSource;
  readonly #families: MetricFamilies;
  /** By the family's name. */
  readonly #instruments = new Map<string, Api.Observable>();
  /** Those that the callback may observe. */
  #observed: Api.Observable[] = [];
  #isStopped = false;

  constructor(meter: Api.Meter, source: MetricsSource, families: MetricFamilies) {
    this.#meter = meter;
    this.#source = source;
    this.#families = families;
  }

  async start(): Promise<void> {
    // A callback needs an instrument, and a supervisor that has just begun knows no instance yet.
    this.#addAll([INSTANCES]);
    this.#addAll(await this.#families.from(this.#source));
  }

  stop(): void {
    this.#isStopped = true;
    this.#meter.removeBatchObservableCallback(this.#observe, this.#observed);
    this.#observed = [];
  }

  readonly #observe = async (result: Api.BatchObservableResult): Promise<void> => {
    const families = await this.#families.from(this.#source);
    for (const { name, series } of families) {
      const instrument = this.#instruments.get(name);
      if (!instrument) continue;
      for (const { labels, value } of series) result.observe(instrument, value, labels);
    }
    // A callback observes only what it was added with: what is new now is told when the provider collects next.
    this.#addAll(families);
  };

  #addAll(families: readonly Family[]): void {
    const added = families.filter(({ name }) => !this.#instruments.has(name));
    if (added.length === 0 || this.#isStopped) return;
    this.#meter.removeBatchObservableCallback(this.#observe, this.#observed);
    for (const family of added) this.#instruments.set(family.name, this.#make(family));
    this.#observed = [...this.#instruments.values()];
    this.#meter.addBatchObservableCallback(this.#observe, this.#observed);
  }

  #make({ type, help, otel: { name, unit } }: Family): Api.Observable {
    const options = { description: help, ...(unit === undefined ? {} : { unit }) };
    return type === "counter"
      ? this.#meter.createObservableCounter(name, options)
      : this.#meter.createObservableGauge(name, options);
  }
}
