/** What is measured of children for those who look: memory and CPU time by /proc, and what each has noted in its file of metrics. */
import { readFileSync } from "node:fs";
import { monotonic } from "../system/monotonic.js";
import {
  LONGEST_TICK_MS,
  measuredAt,
  type Metric,
  type MetricsOwner,
  metricsPath,
  readMetrics,
} from "../wire/metrics-file.js";
import { memoryOf } from "./process-memory.js";
import { factsOf } from "./process-table.js";
import type { Child } from "./registry.js";
import type { InstanceState } from "./supervision-state.js";

/** To read the memory of a large process takes some ms, so not all of many are read at each look. */
const LOOK_MS = 50;
/** What one who scrapes has read does for another. */
const FRESH_MS = 5000;
/** A child that has not been measured for longer than this is blocked. */
const LATE_MS = LONGEST_TICK_MS + 1000;
const UTILIZATION = "forkmap_event_loop_utilization";
const DELAY = "forkmap_event_loop_delay_seconds";

interface Sample {
  memory: number | undefined;
  memoryAt: number;
  cpu: number | undefined;
  cpuSeconds: number;
  cpuAt: number;
}

export type Measured = Pick<
  InstanceState,
  "memory" | "cpu" | "utilization" | "delay" | "inFlight" | "items"
>;

export class Sampler {
  readonly #directory: string;
  readonly #samples = new Map<Child, Sample>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  forget(child: Child): void {
    this.#samples.delete(child);
  }

  /** Reads anew what /proc says: of those first that were read longest ago. */
  async look(children: readonly Child[]): Promise<void> {
    for (const child of children) this.#readTime(child);
    const began = monotonic();
    const oldest = children.toSorted((a, b) => this.#sample(a).memoryAt - this.#sample(b).memoryAt);
    for (const child of oldest) {
      await this.#readMemory(child, this.#sample(child));
      if (monotonic() - began > LOOK_MS) return;
    }
  }

  /** Returns the memory of a child, as it was not long ago. */
  async memory(child: Child): Promise<number | undefined> {
    const sample = this.#sample(child);
    if (monotonic() - sample.memoryAt > FRESH_MS) await this.#readMemory(child, sample);
    return sample.memory;
  }

  measured(child: Child): Measured {
    const { memory, cpu } = this.#sample(child);
    const found = new Map(this.metricsOf(child).map(({ name, value }) => [name, value]));
    const seconds = found.get(DELAY);
    return defined({
      memory,
      cpu,
      utilization: found.get(UTILIZATION),
      delay: seconds === undefined ? undefined : seconds * 1000,
      inFlight: found.get("forkmap_items_in_flight"),
      items: found.get("forkmap_items_total"),
    });
  }

  /** Returns what a child has noted. One that is blocked has not noted that: its event loop is busy, and late. */
  metricsOf(child: MetricsOwner & { readonly pid?: number }): Metric[] {
    const bytes = this.#bytes(child);
    // Empty at first, and when the disk is full.
    const metrics = bytes && readMetrics(bytes);
    if (!metrics) return [];
    const silence = monotonic() - measuredAt(bytes);
    if (silence < LATE_MS || child.pid === undefined) return metrics;
    return metrics.map((metric) => {
      if (metric.name === UTILIZATION) return { ...metric, value: 1 };
      if (metric.name === DELAY) return { ...metric, value: (silence - LONGEST_TICK_MS) / 1000 };
      return metric;
    });
  }

  #bytes(owner: MetricsOwner): Buffer | undefined {
    try {
      return readFileSync(metricsPath(this.#directory, owner));
    } catch {
      // A program, or a child that has just begun.
      return undefined;
    }
  }

  async #readMemory({ pid }: Child, sample: Sample): Promise<void> {
    sample.memory = (await memoryOf(pid))?.size;
    sample.memoryAt = monotonic();
  }

  #readTime(child: Child): void {
    const sample = this.#sample(child);
    const facts = factsOf(child.pid);
    if (!facts) return;
    const now = monotonic();
    if (sample.cpuAt !== 0)
      sample.cpu = Math.max(
        0,
        ((facts.cpuSeconds - sample.cpuSeconds) * 1000) / (now - sample.cpuAt),
      );
    sample.cpuSeconds = facts.cpuSeconds;
    sample.cpuAt = now;
  }

  #sample(child: Child): Sample {
    let sample = this.#samples.get(child);
    if (!sample) {
      sample = { memory: undefined, memoryAt: 0, cpu: undefined, cpuSeconds: 0, cpuAt: 0 };
      this.#samples.set(child, sample);
    }
    return sample;
  }
}

function defined(measured: { [Key in keyof Measured]: Measured[Key] | undefined }): Measured {
  return Object.fromEntries(Object.entries(measured).filter(([, value]) => value !== undefined));
}
