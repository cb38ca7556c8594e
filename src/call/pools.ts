/**
 * The pools of one `Parallel`: a warm one that all its calls share (option `pool`), or one for each call. Owns their
 * sizes; what happens in a pool is in pool/.
 */
import { LaunchError, ParallelError } from "../errors.js";
import type { DeferredLaunch } from "../launch/launcher.js";
import { outside } from "../launch/outside.js";
import type { Meter } from "../observe/stats.js";
import {
  DEFAULT_CLOSE_TIMEOUT_MS,
  type ItemFormat,
  type ParallelOptions,
  type ResolvedOptions,
} from "../options.js";
import type { TaskEngine } from "../pool/engine.js";
import type { Pool } from "../pool/pool.js";
import type { SlotPoolOptions } from "../pool/slot-host.js";
import type { SlotPool } from "../pool/slot-pool.js";
import type { TaskOwner } from "../pool/task-owner.js";
import { processorCount } from "../system/processor-count.js";
import { shortageOf } from "../system/shortage.js";
import { nameOf } from "../worker/function-worker.js";
import { workerNameOf } from "../worker/worker-name.js";
import type { AnyWorker } from "../worker/worker.js";

export class Pools {
  readonly #worker: AnyWorker<never, unknown>;
  readonly #options: ParallelOptions<never, never>;
  readonly #launch: DeferredLaunch;
  readonly #meter: Meter;
  readonly #engine: TaskEngine | undefined;
  /** Slots of the shared pool; `undefined` if each call has its own. */
  #sharedSize: number | undefined;
  #opening: Promise<Pool> | undefined;
  #shared: Pool | undefined;
  /** Those of single calls. */
  readonly #own = new Set<Pool>();
  #concurrency: number | undefined;
  /** Tells a call whose pool is not open yet that `concurrency` was set after the call began. */
  #timesResized = 0;
  /** Loaded by `ready`. */
  #SlotPool: typeof SlotPool | undefined;
  readonly #nextId = counter();

  constructor(
    worker: AnyWorker<never, unknown>,
    options: ParallelOptions<never, never>,
    launch: DeferredLaunch,
    meter: Meter,
  ) {
    this.#worker = worker;
    this.#options = options;
    this.#launch = launch;
    this.#meter = meter;
    this.#concurrency = options.concurrency;
    const { pool, engine } = options;
    this.#engine = engine as TaskEngine | undefined;
    if (engine) return;
    this.#sharedSize = pool === true ? processorCount() : pool === false ? undefined : pool;
  }

  get areShared(): boolean {
    return this.#sharedSize !== undefined || this.areElsewhere;
  }

  /** Whether items run on other machines. */
  get areElsewhere(): boolean {
    return this.#engine !== undefined;
  }

  get areInline(): boolean {
    return this.#sharedSize === 0;
  }

  /** How many machines serve the worker, with an `engine`. */
  get machines(): number | undefined {
    return this.#shared?.machines;
  }

  /** Slots of the shared pool, or of each call's own. */
  get concurrency(): number | undefined {
    return this.#sharedSize ?? this.#concurrency;
  }

  /** How many items can run at once, `fibers` aside. */
  get slots(): number {
    if (this.areElsewhere) return this.#shared?.size ?? 1;
    if (this.#sharedSize !== undefined) return this.#slotsFor(this.#sharedSize) || 1;
    return this.#concurrency ?? this.#launch.current?.defaultConcurrency ?? processorCount();
  }

  /** Applies to calls under way as well. */
  set concurrency(count: number) {
    if (this.areInline) return;
    this.#timesResized += 1;
    if (this.#sharedSize === undefined) this.#concurrency = count;
    else this.#sharedSize = count;
    for (const pool of this.#own) pool.size = count;
    if (this.#shared) this.#shared.size = this.#slotsFor(count);
  }

  /** Resolves once a pool can be opened. */
  async ready(): Promise<void> {
    try {
      if (this.areInline || this.areElsewhere) {
        await this.#openShared();
        return;
      }
      // A child imports this package with its worker's module but rarely has calls, so the pool is not loaded with the
      // package; here it is loaded while the first child starts, whose start it must not delay.
      await outside(() => this.#launch.load());
      const launching = outside(() => this.#launch.ready());
      if (!this.#SlotPool) {
        const [{ SlotPool }] = await Promise.all([import("../pool/slot-pool.js"), launching]);
        this.#SlotPool = SlotPool;
      }
      await launching;
    } catch (cause) {
      const shortage = cause instanceof ParallelError ? undefined : shortageOf(cause);
      if (shortage === undefined) throw cause;
      // One of our own modules could not be read.
      throw new LaunchError(`Children could not be started: ${shortage}`, { cause });
    }
  }

  /** Returns a function that opens the pool of a call that begins now. */
  openerFor(options: ResolvedOptions): () => Promise<Pool> {
    const timesResized = this.#timesResized;
    return async () => {
      if (this.areShared) return await this.#openShared();
      const pool = await this.#openOwn(options);
      if (timesResized !== this.#timesResized) pool.size = this.#concurrency!;
      return pool;
    };
  }

  /** A call has ended: closes its own pool; a shared one stays for the next call. */
  async release(pool: Pool, call: TaskOwner): Promise<void> {
    await pool.remove(call);
    if (pool === this.#shared) return;
    this.#own.delete(pool);
    await pool.close();
  }

  /** Kills the children of the shared pool, idle ones as well. */
  killShared(): void {
    this.#shared?.killAll();
  }

  async closeShared(): Promise<void> {
    const pool = await this.#opening?.catch(() => undefined);
    await pool?.close();
  }

  async #openShared(): Promise<Pool> {
    this.#opening ??= outside(() => this.#openFor(this.#sharedSize));
    try {
      const pool = await this.#opening;
      // It may have been set in the meantime.
      const size = this.#sharedSize ?? this.#concurrency;
      if (!this.#shared && size !== undefined) pool.size = this.#slotsFor(size) || 1;
      return (this.#shared = pool);
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  #openFor(size: number | undefined): Promise<Pool> {
    if (size === undefined) return this.#openElsewhere();
    return size === 0 ? this.#openInline() : this.#openWarm(size);
  }

  #openElsewhere(): Promise<Pool> {
    const { serialization = "json" } = this.#options as { serialization?: ItemFormat };
    return this.#engine!.map({
      worker: workerNameOf(this.#worker),
      format: serialization,
      meter: this.#meter,
    });
  }

  async #openInline(): Promise<Pool> {
    const { InlinePool } = await import("../pool/inline-pool.js");
    return await InlinePool.open(this.#worker, this.#meter);
  }

  #openWarm(size: number): Promise<Pool> {
    return this.#open({
      size: this.#slotsFor(size),
      isShared: true,
      maxItemsPerChild: this.#options.maxItemsPerChild ?? Infinity,
      scratchRoot: this.#options.scratchRoot,
      limits: this.#options.limits,
    });
  }

  /** Each thread is a slot of its own. */
  #slotsFor(poolSize: number): number {
    return poolSize * (this.#options.threads ?? 1);
  }

  async #openOwn({ scratchRoot, limits, concurrency }: ResolvedOptions): Promise<Pool> {
    const pool = await this.#open({
      size: concurrency ?? this.#launch.current!.defaultConcurrency,
      isShared: false,
      maxItemsPerChild: this.#options.maxItemsPerChild ?? 1,
      scratchRoot,
      limits,
    });
    this.#own.add(pool);
    return pool;
  }

  async #open(options: OwnPoolOptions): Promise<SlotPool> {
    const SlotPool = this.#SlotPool!;
    const launcher = this.#launch.current!;
    const all: SlotPoolOptions = {
      ...options,
      maxRss: this.#options.maxRss,
      output: this.#options.output ?? "inherit",
      closeTimeout: this.#options.closeTimeout ?? DEFAULT_CLOSE_TIMEOUT_MS,
      nextId: this.#nextId,
      meter: this.#meter,
      worker: nameOf(this.#worker),
    };
    return await outside(() => SlotPool.open(launcher, all));
  }
}

function counter(): () => string {
  let last = 0;
  return () => String((last += 1));
}

type OwnPoolOptions = Omit<
  SlotPoolOptions,
  "maxRss" | "output" | "closeTimeout" | "nextId" | "meter" | "worker"
>;
