/** The monitor that tells what processors and memory instances use, with all that they have started. */
import { check, milliseconds } from "../option-rules.js";
import { monotonic } from "../system/monotonic.js";
import { CpuTotals, type TreeUsage } from "./cpu-totals.js";
import { Monitor, type MonitorContext, type SupervisedInstance } from "./monitor.js";
import { hasProc, NO_PROC, rssOf } from "./process-memory.js";
import { OWN_MODULE } from "../worker/locate-worker.js";

/** Options of `new ProcessMonitor(options)`. */
export interface ProcessMonitorOptions {
  /** Time between two looks, in ms. @defaultValue 10_000 */
  readonly interval?: number | undefined;
}

/** What one instance uses, with all that descends from it. */
export interface ProcessSample {
  readonly num: number;
  /** Name of the worker whose pool the instance is in; undefined for an instance of a container. */
  readonly pool: string | undefined;
  readonly name: string;
  readonly pid: number;
  /** The instance and its descendants. */
  readonly processes: number;
  /** User and system time of all children that the num has had, in seconds. Never goes back. */
  readonly cpuSeconds: number;
  /** How many processors it has kept busy since the look before: 1 is one of them all the time. Undefined at the first look. */
  readonly cpu: number | undefined;
  /** Resident set of all of them, in bytes. Pages that they share count in each: see `MemoryMonitor` for what they need. */
  readonly rss: number;
}

/**
 * Looks at the processor time and memory of each instance and of what it has started.
 *
 * @remarks
 * Extend it and override `emit` to pass each sample on: a function could not travel to the supervisor's process. Linux only; elsewhere `status` says
 * that it is not available.
 *
 * @example
 * ```ts
 * import { ProcessMonitor, type ProcessSample } from "forkmap/supervisor";
 *
 * export class Log extends ProcessMonitor {
 *   override emit({ name, num, cpu, rss }: ProcessSample): void {
 *     console.error(`${name} num ${num}: ${cpu} processors, ${rss} bytes`);
 *   }
 * }
 *
 * console.log(new Log({ interval: 60_000 }).interval); // 60000
 * ```
 */
export class ProcessMonitor extends Monitor {
  /** @internal */
  static readonly [OWN_MODULE]: string = import.meta.url;
  override readonly interval: number;

  readonly #totals = new CpuTotals();
  #before = new Map<SupervisedInstance, { readonly at: number; readonly seconds: number }>();
  #samples: readonly ProcessSample[] = [];

  /** @throws TypeError for an option that does not exist, or a value that does not fit */
  constructor(options: ProcessMonitorOptions = {}) {
    super();
    check(options, RULES, "", (name) => `Unknown option \`${name}\` of a ProcessMonitor`);
    this.interval = options.interval ?? DEFAULT_INTERVAL_MS;
  }

  /** Is given each sample; the next one waits for it. */
  emit(_sample: ProcessSample): void | Promise<void> {}

  override async run({ instances, programPid }: MonitorContext): Promise<void> {
    const usages = await this.#totals.look(instances, programPid);
    const at = monotonic();
    const samples = Array.from(usages, ([instance, usage]) => this.#sample(instance, usage, at));
    this.#before = new Map(
      Array.from(usages, ([instance, { childCpuSeconds }]) => [
        instance,
        { at, seconds: childCpuSeconds },
      ]),
    );
    this.#samples = samples;
    for (const sample of samples) await this.emit(sample);
  }

  override status(): object {
    return hasProc() ? { instances: this.#samples } : { unavailable: NO_PROC };
  }

  #sample(instance: SupervisedInstance, usage: TreeUsage, at: number): ProcessSample {
    const { num, pool, name, pid } = instance;
    const { pids, childCpuSeconds, cpuSeconds } = usage;
    const before = this.#before.get(instance);
    const cpu = before && Math.max(0, childCpuSeconds - before.seconds) / ((at - before.at) / 1000);
    const rss = pids.reduce((sum, each) => sum + (rssOf(each) ?? 0), 0);
    return { num, pool, name, pid, processes: pids.length, cpuSeconds, cpu, rss };
  }
}

const DEFAULT_INTERVAL_MS = 10_000;
const RULES = { interval: milliseconds(1) };
