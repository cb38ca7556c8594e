/** The monitor that replaces instances that have too much memory. */
import { bytes, check, milliseconds, wholeNumber } from "../option-rules.js";
import { freeMemory } from "../system/free-memory.js";
import { type GrowthLimit, Growth, GROWTH_BYTES, GROWTH_SAMPLES } from "./growth.js";
import { Monitor, type MonitorContext, type SupervisedInstance } from "./monitor.js";
import { Patience } from "./patience.js";
import {
  hasProc,
  inMiB,
  memoryOf,
  NO_PROC,
  type ProcessMemory,
  type TotalMemory,
  totalOf,
} from "./process-memory.js";
import { OWN_MODULE } from "../worker/locate-worker.js";

/** Limits of a `MemoryMonitor`; one that is not set is not watched. */
export interface MemoryMonitorOptions {
  /** Time between two looks, in ms. @defaultValue 10_000 */
  readonly interval?: number | undefined;
  /** What one instance may have, in bytes: its own pages, and its part of those that it shares (PSS). */
  readonly limit?: number | undefined;
  /** Replace an instance whose memory only grows. `{}` takes the defaults: 20 rises, 200 MiB in all. */
  readonly growth?: GrowthLimit | undefined;
  /** What all instances may have together, in bytes, shared pages counted once. The largest is replaced. */
  readonly totalLimit?: number | undefined;
  /** What the machine, or the cgroup, must have left, in bytes. If it has less, the largest instance is replaced. */
  readonly minFreeMemory?: number | undefined;
}

/**
 * Replaces instances that have too much memory: each finishes what it has, and another takes its place under its num.
 *
 * @remarks
 * Forked instances share what their `preload` has loaded. An instance is judged by its own pages and its part of the shared ones, so eight that share
 * 300 MiB have some 40 MiB each. What it has started counts for nothing: see `ProcessMonitor`. Where the kernel does not tell this, it is judged by
 * its resident set, which counts shared pages whole; `status` and the reason say `RSS` then.
 *
 * A child that was just started is given time: one `interval`, and twice as much each time that it is replaced soon after, up to 64
 * intervals. That is warned of, as it means that the limit is too low. For `totalLimit` and `minFreeMemory` the largest instance is replaced, one at a
 * time; while the largest is too young, none is. Instances in threads of one process share its memory: they are counted, and never replaced.
 *
 * @example
 * ```ts
 * import { MemoryMonitor } from "forkmap/supervisor";
 *
 * const monitor = new MemoryMonitor({ limit: 500 * 2 ** 20, growth: { samples: 30, threshold: 100 * 2 ** 20 } });
 * console.log(monitor.limit); // 524288000
 * ```
 */
export class MemoryMonitor extends Monitor {
  /** @internal */
  static readonly [OWN_MODULE]: string = import.meta.url;
  override readonly interval: number;
  readonly limit: number | undefined;
  readonly growth: GrowthLimit | undefined;
  readonly totalLimit: number | undefined;
  readonly minFreeMemory: number | undefined;

  readonly #watched = new Map<SupervisedInstance, Watched>();
  /** One may end while a run is waiting for what /proc says of another. */
  readonly #ended = new WeakSet<SupervisedInstance>();
  readonly #patience = new Patience();
  #replaced = 0;
  #total: TotalMemory | undefined;
  #free: number | undefined;

  /** @throws TypeError for an option that does not exist, or a value that does not fit */
  constructor(options: MemoryMonitorOptions = {}) {
    super();
    check(options, RULES, "", (name) => `Unknown option \`${name}\` of a MemoryMonitor`);
    this.interval = options.interval ?? DEFAULT_INTERVAL_MS;
    this.limit = options.limit;
    this.growth = options.growth;
    this.totalLimit = options.totalLimit;
    this.minFreeMemory = options.minFreeMemory;
  }

  override remove(instance: SupervisedInstance): void {
    this.#ended.add(instance);
    this.#watched.delete(instance);
  }

  override async run(context: MonitorContext): Promise<void> {
    await this.#look([...context.instances]);
    const alone = this.#alone(context.programPid);
    for (const each of alone) this.#judge(each, context);
    this.#judgeAll(alone, context);
  }

  override status(): object {
    if (!hasProc()) return { unavailable: NO_PROC };
    return {
      replaced: this.#replaced,
      total: this.#total?.size,
      measure: this.#total?.measure,
      free: this.#free,
      instances: Array.from(this.#watched.values(), ({ instance, memory, growth }) => ({
        num: instance.num,
        name: instance.name,
        pool: instance.pool,
        pid: instance.pid,
        memory: memory.size,
        own: memory.own,
        measure: memory.measure,
        rises: this.growth && growth.rises,
      })),
    };
  }

  async #look(instances: readonly SupervisedInstance[]): Promise<void> {
    for (const known of this.#watched.keys())
      if (!instances.includes(known)) this.#watched.delete(known);
    // One after another, see `memoryOf`.
    for (const instance of instances) {
      const memory = await memoryOf(instance.pid);
      const before = this.#watched.get(instance);
      if (!memory || this.#ended.has(instance)) this.#watched.delete(instance);
      else {
        const growth = before?.growth ?? new Growth();
        const looks = before?.looks === undefined ? undefined : before.looks + 1;
        this.#watched.set(instance, { instance, memory, growth, looks });
      }
    }
  }

  /** Returns those that are the only one in their process. */
  #alone(programPid: number): Watched[] {
    const all = [...this.#watched.values()];
    const times = new Map([[programPid, 2]]);
    for (const { instance } of all) times.set(instance.pid, (times.get(instance.pid) ?? 0) + 1);
    return all.filter(({ instance }) => times.get(instance.pid) === 1);
  }

  #judge(watched: Watched, context: MonitorContext): void {
    const { instance, memory, growth } = watched;
    const { size, measure } = memory;
    const isOld = this.#isOld(watched);
    // A child that is young still loads what it needs: that is no leak.
    const isLeak = isOld && this.growth !== undefined && growth.note(size, this.growth);
    if (this.limit !== undefined && size > this.limit) {
      const reason = `it has ${inMiB(size)} of memory (${measure}), more than its limit of ${inMiB(this.limit)}`;
      if (isOld) this.#replace(watched, reason, context);
    } else if (isLeak) {
      const { samples = GROWTH_SAMPLES, threshold = GROWTH_BYTES } = this.growth ?? {};
      const reason = `its memory (${measure}) has risen ${growth.rises} times, from ${inMiB(growth.baseline)} to ${inMiB(size)}; more than ${inMiB(threshold)} in ${samples} rises are taken for a leak`;
      this.#replace(watched, reason, context);
    } else this.#patience.spared(instance, this.interval);
  }

  #judgeAll(alone: readonly Watched[], context: MonitorContext): void {
    const byPid = new Map(
      Array.from(this.#watched.values(), ({ instance, memory }) => [instance.pid, memory]),
    );
    this.#total = totalOf(byPid.values());
    this.#free = this.minFreeMemory === undefined ? undefined : freeMemory();
    const reason = this.#whyAll(byPid.size);
    // One at a time: the memory of one that is ending still counts.
    if (reason === undefined || alone.some(isBeingReplaced)) return;
    const [largest] = alone.toSorted((a, b) => b.memory.size - a.memory.size);
    // If the largest has just been replaced, to replace others would not help.
    if (!largest || !this.#isOld(largest)) return;
    const { size, measure } = largest.memory;
    const which = `it is the largest of all with ${inMiB(size)} (${measure})`;
    this.#replace(largest, `${reason}, and ${which}`, context);
  }

  #whyAll(processes: number): string | undefined {
    const { size, measure } = this.#total!;
    if (this.totalLimit !== undefined && size > this.totalLimit)
      return `all ${processes} have ${inMiB(size)} (${measure}) together, more than their limit of ${inMiB(this.totalLimit)}`;
    if (this.minFreeMemory !== undefined && this.#free! < this.minFreeMemory)
      return `${inMiB(this.#free!)} of memory are free, less than the ${inMiB(this.minFreeMemory)} that must be`;
    return undefined;
  }

  #isOld({ instance, looks }: Watched): boolean {
    return looks !== undefined || this.#patience.isOver(instance, this.interval);
  }

  #replace(watched: Watched, reason: string, context: MonitorContext): void {
    if (isBeingReplaced(watched)) return;
    if (watched.looks === undefined) {
      this.#replaced += 1;
      this.#patience.replaced(watched.instance, this.interval, reason);
    }
    watched.looks = 0;
    context.replace(watched.instance, reason);
  }
}

/** One instance, as the last run has seen it. */
interface Watched {
  readonly instance: SupervisedInstance;
  readonly memory: ProcessMemory;
  readonly growth: Growth;
  /** How often it was looked at since it was told to be replaced. */
  looks: number | undefined;
}

/** One that is still there after so many looks is told again: the word may have been lost. */
const TELL_AGAIN_LOOKS = 6;

function isBeingReplaced({ looks }: Watched): boolean {
  return looks !== undefined && looks < TELL_AGAIN_LOOKS;
}

const DEFAULT_INTERVAL_MS = 10_000;
const RULES = {
  interval: milliseconds(1),
  limit: bytes,
  growth: { samples: wholeNumber(1, 1_000_000), threshold: bytes },
  totalLimit: bytes,
  minFreeMemory: bytes,
};
