/**
 * What is told to others of all instances, as metrics with labels: by num and name, never by pid, so there are as many series as instances however
 * often these are restarted. How they are written is left to prometheus.ts and open-telemetry.ts.
 */
import { Turns } from "../system/turns.js";
import type { InstanceView } from "../wire/supervision.js";
import {
  type AllSeries,
  type Family,
  type Known,
  type Labels,
  Page,
  type Point,
  pointsOf,
  seriesByName,
  seriesOf,
} from "./family-page.js";
import { otelName, validName } from "./metric-names.js";
import { warnOf } from "./monitor-warning.js";
import { type SavedTotals, Totals } from "./totals.js";

/** One metric of a child. */
export interface NumMetric {
  readonly value: number;
  readonly type: "counter" | "gauge";
  readonly help: string;
  /** Whether each num has a series of its own; else there is one with the sum over all nums of the name. */
  readonly byNum: boolean;
}

/** What is known of one num, as plain data. */
export interface NumMetrics {
  readonly num: number;
  /** Name of the worker whose pool it is in; undefined for an instance of a container. */
  readonly pool: string | undefined;
  readonly name: string;
  /** Its container or pool, if several may have the same num and name at a time and count apart, as while one takes over from another. */
  readonly run?: string;
  /** Nobody of its run counts any more. */
  readonly isOver?: boolean;
  readonly state: InstanceView["state"];
  /** Undefined of a num that is gone, and has left only what it has counted. */
  readonly restarts: number | undefined;
  readonly failures: number | undefined;
  /** PSS in bytes; undefined if it has no child, or it is not known. */
  readonly memory?: number | undefined;
  /** Of all children that the num has had, in seconds; undefined if it is not known. */
  readonly cpuSeconds?: number | undefined;
  /** By name, such as `forkmap_event_loop_utilization`, and counters and gauges of the user's. */
  readonly metrics: ReadonlyMap<string, NumMetric>;
}

/** Where metrics come from. */
export interface MetricsSource {
  /** Called for each page of Prometheus, and each time that OpenTelemetry collects. */
  collect(): readonly NumMetrics[] | Promise<readonly NumMetrics[]>;
}

/** A state without instances has a series too: one that comes and goes breaks graphs and alerts. */
const STATES = ["starting", "ready", "stopping", "waiting"] as const;

/** Those that the supervisor itself knows. */
const OWN = {
  forkmap_instances: {
    type: "gauge",
    help: "Instances by state.",
    otel: { name: "forkmap.instances", unit: "{instance}" },
  },
  forkmap_restarts_total: {
    type: "counter",
    help: "How often another child took the place of one.",
    otel: { name: "forkmap.restarts", unit: "{restart}" },
  },
  forkmap_failures_total: {
    type: "counter",
    help: "Children that failed.",
    otel: { name: "forkmap.failures", unit: "{failure}" },
  },
  forkmap_memory_bytes: {
    type: "gauge",
    help: "Memory of the child: its own pages and its part of those that it shares (PSS).",
    otel: { name: "forkmap.memory", unit: "By" },
  },
  forkmap_cpu_seconds_total: {
    type: "counter",
    help: "User and system time of all children of the num and what they started, as far as it was seen.",
    otel: { name: "forkmap.cpu", unit: "s" },
  },
} satisfies Record<string, Known>;

const CPU = "forkmap_cpu_seconds_total";
/** Its value is that of all children of all runs already. */
const ALL_RUNS = "";

/** The family that is there even if there is no instance yet. */
export const INSTANCES: Family = {
  name: "forkmap_instances",
  ...OWN.forkmap_instances,
  series: [],
};

/** Those that children note. */
const MEASURED: Readonly<Record<string, Known>> = {
  forkmap_event_loop_utilization: {
    type: "gauge",
    help: "Part of the time that the event loop was busy, from 0 to 1.",
    // No unit: exporters would add "_ratio" for the unit 1.
    otel: { name: "forkmap.event_loop.utilization" },
    merge: "max",
  },
  forkmap_event_loop_delay_seconds: {
    type: "gauge",
    help: "By how much timers were late.",
    otel: { name: "forkmap.event_loop.delay", unit: "s" },
    merge: "max",
  },
  forkmap_items_total: {
    type: "counter",
    help: "Items or requests that were begun.",
    otel: { name: "forkmap.items", unit: "{item}" },
  },
  forkmap_items_in_flight: {
    type: "gauge",
    help: "Items or requests under way.",
    otel: { name: "forkmap.items.in_flight", unit: "{item}" },
  },
};

/** Counters as plain data, for the process that takes over: by series, the keys of its parts. */
export interface SavedCounters {
  readonly totals: SavedTotals;
  readonly parts: Readonly<Record<string, readonly string[]>>;
  /** Which were shown. */
  readonly shown: readonly AllSeries[];
}

/**
 * Makes metrics of what is known. Counters never go back: where one counts less than before, it has begun anew, and is added to what it had.
 */
export class MetricFamilies {
  #counters!: Totals;
  /** Of counters that are summed over nums: the keys of all nums that have counted, also of those that are gone. */
  readonly #parts = new Map<string, Set<string>>();
  /** Counters that were shown once, and stay, whoever has counted: by series. */
  readonly #shown = new Map<string, Point>();
  /** Whoever collects to count takes turns: what was seen earlier and counted later would be taken for a new start. */
  readonly turns = new Turns();
  /** Series that have had a value. */
  readonly #seen = new Set<string>();
  readonly #onCounted: (nums: readonly NumMetrics[]) => void;

  /**
   * @param saved - what `save()` has returned in another process: those who count may not all be known to this one yet, and sums must not fall by that
   * @param onCounted - called when counters may have changed, before anybody sees them
   */
  constructor(saved?: SavedCounters, onCounted: (nums: readonly NumMetrics[]) => void = () => {}) {
    this.#onCounted = onCounted;
    this.restore(saved);
  }

  /** Goes on with this in place of what it has counted itself. */
  restore(saved: SavedCounters | undefined): void {
    // As many as there are: each is noted again as long as its file is there.
    this.#counters = new Totals("a new start", Infinity, saved?.totals);
    this.#parts.clear();
    for (const [series, keys] of Object.entries(saved?.parts ?? {}))
      this.#parts.set(series, new Set(keys));
    this.#shown.clear();
    for (const point of pointsOf(saved?.shown ?? [])) this.#shown.set(point.series, point);
  }

  save(): SavedCounters {
    const parts = Array.from(this.#parts, ([series, keys]) => [series, [...keys]] as const);
    const shown = seriesByName(this.#shown.values());
    return { totals: this.#counters.save(), parts: Object.fromEntries(parts), shown };
  }

  from(source: MetricsSource): Promise<Family[]> {
    return this.turns.run(async () => this.of(await source.collect()));
  }

  of(nums: readonly NumMetrics[]): Family[] {
    const page = this.#pageOf(nums);
    for (const point of page.counters()) this.#shown.set(point.series, point);
    for (const point of this.#shown.values()) {
      const { name, given, known } = point;
      if (page.has(point) || page.conflict(name, given, known.type) !== undefined) continue;
      page.set(point, this.#sum(point.series));
    }
    this.#onCounted(nums);
    return page.families();
  }

  /** Counts what is not to be shown. */
  note(nums: readonly NumMetrics[]): void {
    this.#pageOf(nums);
    this.#onCounted(nums);
  }

  #pageOf(nums: readonly NumMetrics[]): Page {
    const page = new Page();
    for (const num of nums) {
      if (num.state !== "ended") countState(page, num);
      this.#add(page, "forkmap_restarts_total", OWN.forkmap_restarts_total, num, num.restarts);
      this.#add(page, "forkmap_failures_total", OWN.forkmap_failures_total, num, num.failures);
      this.#add(page, "forkmap_memory_bytes", OWN.forkmap_memory_bytes, num, num.memory);
      this.#add(
        page,
        "forkmap_cpu_seconds_total",
        OWN.forkmap_cpu_seconds_total,
        num,
        num.cpuSeconds,
      );
      for (const [name, metric] of num.metrics) {
        // A gauge ends with its child.
        if (num.state !== "ended" || metric.type === "counter")
          this.#addNoted(page, name, metric, num);
      }
    }
    this.#counters.endAllBut(new Set([ALL_RUNS, ...nums.map(({ run = ALL_RUNS }) => run)]));
    return page;
  }

  #sum(series: string): number {
    let sum = 0;
    for (const part of this.#parts.get(series) ?? []) sum += this.#counters.of(part) ?? 0;
    return sum;
  }

  #addNoted(page: Page, given: string, metric: NumMetric, num: NumMetrics): void {
    const measured = Object.hasOwn(MEASURED, given) ? MEASURED[given] : undefined;
    const name = measured ? given : validName(given);
    const known = measured ?? { ...metric, otel: { name: otelName(name) } };
    const problem = Object.hasOwn(OWN, name)
      ? "is a name of this package's own"
      : page.conflict(name, given, known.type);
    if (problem !== undefined) {
      warnOf(`The metric ${given} of ${num.name} is left out: it ${problem}`, "FORKMAP_METRICS");
      return;
    }
    this.#add(page, name, known, num, metric.value, given, metric.byNum);
  }

  #add(
    page: Page,
    name: string,
    known: Known,
    num: NumMetrics,
    value: number | undefined,
    given = name,
    byNum = true,
  ): void {
    const { num: number, run = "" } = num;
    const labels = byNum ? { num: String(number), ...labelsOf(num) } : labelsOf(num);
    const series = seriesOf(name, labels);
    const point = { name, known, given, series, labels };
    if (known.type === "counter") {
      const key = `${series} ${number}`;
      // One that cannot be added to stays what it was.
      if (value !== undefined && value >= 0 && value < Infinity) {
        this.#counters.note(key, name === CPU ? ALL_RUNS : run, value);
        const parts = this.#parts.get(series);
        if (parts) parts.add(key);
        else this.#parts.set(series, new Set([key]));
      }
      if (!this.#parts.has(series)) return;
      page.set(point, this.#sum(series));
      return;
    }
    // The memory of a num without a child is none.
    const shown =
      value ?? (name === "forkmap_memory_bytes" && this.#seen.has(series) ? 0 : undefined);
    if (shown === undefined) return;
    this.#seen.add(series);
    page.add(point, shown);
  }
}

function countState(page: Page, num: NumMetrics): void {
  for (const state of STATES) {
    const labels = { state, ...labelsOf(num) };
    const count = num.state === state ? 1 : 0;
    const name = "forkmap_instances";
    const series = JSON.stringify(labels);
    page.add({ name, known: OWN[name], given: name, series, labels }, count);
  }
}

function labelsOf({ name, pool }: NumMetrics): Labels {
  return pool === undefined ? { name } : { name, pool };
}
