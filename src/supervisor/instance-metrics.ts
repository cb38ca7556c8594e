/** The metrics of all instances: collects them, serves them, and keeps what must outlive the supervisor's process. */
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { parse, stringify } from "../system/json.js";
import {
  METRICS_FILE,
  metricsFile,
  type MetricsOwner,
  ownerIn,
  readMetrics,
} from "../wire/metrics-file.js";
import { CpuTotals } from "./cpu-totals.js";
import {
  MetricFamilies,
  type MetricsSource,
  type NumMetrics,
  type SavedCounters,
} from "./metric-families.js";
import { observeByOpenTelemetry } from "./open-telemetry.js";
import { Prometheus } from "./prometheus.js";
import type { Child, Registry } from "./registry.js";
import type { Sampler } from "./sampler.js";
import { type MetricsAddress, type MetricsServer, serveMetrics } from "./serve-metrics.js";
import type { SavedTotals } from "./totals.js";

const TOTALS_FILE = "totals";

/** What must outlive this process, so that counters do not fall. */
interface Saved {
  /** By num: the kernel forgets the CPU time of a child that has ended. */
  readonly cpu: SavedTotals;
  readonly counters: SavedCounters;
}

export class InstanceMetrics implements MetricsSource {
  readonly #file: string;
  readonly #registry: Registry;
  readonly #sampler: Sampler;
  readonly #directory: string;
  readonly #isCurrent: () => boolean;
  #cpu = new CpuTotals();
  #families = new MetricFamilies();
  #prometheus: Promise<Prometheus> | undefined;
  #server: MetricsServer | undefined;
  #stopObserving: (() => void) | undefined;
  #isClosed = false;

  /** @param isCurrent - whether no other supervisor has taken over the directory */
  constructor(directory: string, registry: Registry, sampler: Sampler, isCurrent: () => boolean) {
    this.#directory = directory;
    this.#file = `${directory}/${TOTALS_FILE}`;
    this.#registry = registry;
    this.#sampler = sampler;
    this.#isCurrent = isCurrent;
  }

  /** Goes on with what the supervisor before has saved, and what children have left that are gone. */
  async takeOver(): Promise<void> {
    const saved = savedIn(this.#file);
    this.#cpu = new CpuTotals(saved?.cpu);
    this.#families = new MetricFamilies(saved?.counters, () => this.#save());
    this.#families.of(await this.collect());
  }

  /** @param address - where they are served, if they are */
  async begin(address: MetricsAddress | undefined): Promise<void> {
    this.#stopObserving = await observeByOpenTelemetry(this, this.#families);
    if (address === undefined || this.#isClosed) return;
    this.#server = serveMetrics(address, async () => (await this.#page()).page());
  }

  /** Where they are served. */
  get url(): string | undefined {
    return this.#server?.url;
  }

  /** As Prometheus reads them. */
  async text(): Promise<string> {
    const { text } = await (await this.#page()).page();
    return text;
  }

  async collect(): Promise<NumMetrics[]> {
    const children = this.#registry.children;
    const usages = await this.#cpu.look(children, process.ppid);
    const nums: NumMetrics[] = [];
    for (const view of this.#registry.views) {
      const { num, name, state, restarts, failures } = view;
      const facts = { num, name, state, restarts, failures, pool: undefined };
      const run = this.#registry.ownRun;
      const child = this.#registry.childOf(view);
      nums.push({
        ...facts,
        run,
        ...(await this.#measured(child ?? { run, num, name })),
        cpuSeconds: child && usages.get(child)?.cpuSeconds,
      });
    }
    for (const child of children.filter((each) => !this.#registry.isOwn(each))) {
      const { num, name, pool, run, generation } = child;
      const facts = { num, name, pool, run, state: "ready", failures: 0 } as const;
      const cpuSeconds = usages.get(child)?.cpuSeconds;
      nums.push({
        ...facts,
        restarts: generation - 1,
        cpuSeconds,
        ...(await this.#measured(child)),
      });
    }
    return [...nums, ...this.#left(nums)];
  }

  /** What children have counted that are gone, as of a set that a restart has replaced: it is in their files until the program ends. */
  #left(nums: readonly NumMetrics[]): NumMetrics[] {
    const known = new Set(nums.map(({ run = "", num, name }) => metricsFile({ run, num, name })));
    return readdirSync(this.#directory).flatMap((file) => {
      const [, run, , num] = METRICS_FILE.exec(file) ?? [];
      if (run === undefined || known.has(file)) return [];
      const bytes = bytesOf(`${this.#directory}/${file}`);
      const owner = bytes && ownerIn(bytes);
      const metrics = bytes && readMetrics(bytes);
      if (!owner || !metrics) return [];
      const { name, pool } = owner;
      const counted = metrics.map(({ name: metric, ...facts }) => [metric, facts] as const);
      const facts = { num: Number(num), name, pool, run, state: "ended" } as const;
      return [{ ...facts, restarts: undefined, failures: undefined, metrics: new Map(counted) }];
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#stopObserving?.();
    await this.#server?.close();
  }

  async #measured(child: Child | MetricsOwner): Promise<Pick<NumMetrics, "memory" | "metrics">> {
    const memory = "pid" in child ? await this.#sampler.memory(child) : undefined;
    const metrics = this.#sampler
      .metricsOf(child)
      .map(({ name, ...metric }) => [name, metric] as const);
    return { memory, metrics: new Map(metrics) };
  }

  #page(): Promise<Prometheus> {
    this.#prometheus ??= Prometheus.of(this, this.#families);
    return this.#prometheus;
  }

  #save(): void {
    if (!this.#isCurrent()) return;
    const draft = `${this.#file}-${process.pid}`;
    try {
      const saved: Saved = { cpu: this.#cpu.save(), counters: this.#families.save() };
      writeFileSync(draft, stringify(saved), { mode: 0o600 });
      renameSync(draft, this.#file);
    } catch {
      // The disk is full: the next supervisor begins with what was saved before.
    }
  }
}

function bytesOf(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

function savedIn(file: string): Saved | undefined {
  try {
    return parse(readFileSync(file, "utf8")) as Saved;
  } catch {
    return undefined;
  }
}
