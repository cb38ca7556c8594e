/** The metrics of all instances: collects them, serves them, and keeps what must outlive the supervisor's process. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { SupervisorError } from "../errors.js";
import { isAlive } from "../system/is-alive.js";
import { parse, stringify } from "../system/json.js";
import type { MetricsOwner } from "../wire/metrics-file.js";
import { CpuTotals } from "./cpu-totals.js";
import { metricsLeft, removeLeft } from "./left-metrics.js";
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
  /** Pids of the programs whose supervisors have saved it. When all have ended, only sums go on: a series is not shown before somebody counts. */
  readonly programs: readonly number[];
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
  readonly #families = new MetricFamilies(undefined, (nums) => this.#counted(nums));
  #programs: ReadonlySet<number> = new Set();
  /** Another has saved meanwhile: what is counted here before that is read must not take its place. */
  #isStale = false;
  #prometheus: Promise<Prometheus> | undefined;
  #address: MetricsAddress | undefined;
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

  /** Goes on with what the supervisor before has saved, and what children have left that are gone. Whoever asks meanwhile waits. */
  takeOver(): Promise<void> {
    return this.#families.turns.run(async () => {
      const saved = savedIn(this.#file);
      this.#isStale = false;
      this.#cpu = new CpuTotals(saved?.cpu);
      this.#programs = new Set([process.ppid, ...(saved?.programs ?? []).filter(isAlive)]);
      const isShown = saved?.programs.some(isAlive) ?? false;
      this.#families.restore(
        saved && { ...saved.counters, shown: isShown ? saved.counters.shown : [] },
      );
      this.#families.note(await this.collect());
    });
  }

  /** @param address - where they are served, if they are */
  async begin(address: MetricsAddress | undefined): Promise<void> {
    this.#address = address;
    this.#stopObserving = await observeByOpenTelemetry(this, this.#families);
    this.#serve();
  }

  /** Another supervisor has the directory now. It goes on from what was saved: what is counted here from now on is not shown, or its counters would be lower. */
  lost(): void {
    void this.#server?.close();
    this.#server = undefined;
  }

  /** That one has ended. */
  reclaimed(): void {
    this.#isStale = true;
    this.takeOver()
      .then(() => this.#serve())
      .catch(() => {
        // The directory is gone.
      });
  }

  #serve(): void {
    if (this.#address === undefined || this.#isClosed || this.#server) return;
    this.#server = serveMetrics(this.#address, async () =>
      this.#isCurrent() ? await (await this.#page()).page() : undefined,
    );
  }

  /** Where they are served. */
  get url(): string | undefined {
    return this.#server?.url;
  }

  /** As Prometheus reads them. */
  async text(): Promise<string> {
    if (!this.#isCurrent())
      throw new SupervisorError(
        "Another supervisor has taken over: it has the metrics, connect again",
        "disconnected",
      );
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
    return [...nums, ...metricsLeft(this.#directory, nums)];
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

  /** Saves what was counted; then what runs that are over have left is no longer needed. */
  #counted(nums: readonly NumMetrics[]): void {
    if (this.#isStale || !this.#isCurrent()) return;
    const draft = `${this.#file}-${process.pid}`;
    try {
      const counters = this.#families.save();
      const saved: Saved = { programs: [...this.#programs], cpu: this.#cpu.save(), counters };
      writeFileSync(draft, stringify(saved), { mode: 0o600 });
      renameSync(draft, this.#file);
      const over = nums.filter(({ isOver }) => isOver).map(({ run }) => run!);
      removeLeft(this.#directory, new Set(over));
    } catch {
      // The disk is full: the next supervisor begins with what was saved before.
    }
  }
}

function savedIn(file: string): Saved | undefined {
  try {
    return parse(readFileSync(file, "utf8")) as Saved;
  } catch {
    return undefined;
  }
}
