/**
 * The calls of one `Parallel`, and what they share: the launcher, the pool, and the numbers that `stats()` tells. The verbs
 * of `Parallel` say what becomes of results and errors; here a call is made, run, counted and ended.
 */
import { CallerContext } from "./caller-context.js";
import { CallRecorder } from "./call-recorder.js";
import type { CallSite } from "./call-site.js";
import { expectedResult } from "../worker/check-worker.js";
import type { SlotPool, SlotPoolOptions } from "../pool/slot-pool.js";
import type { Pool } from "../pool/pool.js";
import * as diagnostics from "../observe/diagnostics.js";
import { ClosedError, LaunchError, own, ParallelError } from "../errors.js";
import { ProcessChoice } from "../launch/process-choice.js";
import type { LaunchChoice } from "../launch/launcher.js";
import {
  type CallOptions,
  DEFAULT_CLOSE_TIMEOUT_MS,
  type ParallelOptions,
  type ResolvedOptions,
  resolveOptions,
} from "../options.js";
import { holdingLoop } from "./loop-hold.js";
import { outside } from "../launch/outside.js";
import { processorCount } from "../system/processor-count.js";
import { Scheduler } from "./scheduler.js";
import { shortageOf } from "../system/shortage.js";
import { Meter, type ParallelStats } from "../observe/stats.js";
import type { TaskOwner } from "../pool/task-owner.js";
import type { AnyWorker } from "../worker/worker.js";

/** What one call is to do. */
export interface CallPlan {
  /** In which its user's code runs; that of whoever starts it unless given. */
  readonly context?: CallerContext;
  readonly site: CallSite;
  /** Those of `new Parallel`, which `options` override. */
  readonly defaults: ParallelOptions<never, never>;
  readonly items: Iterable<unknown> | AsyncIterable<unknown>;
  readonly options: CallOptions<never, never>;
  readonly wantsResults: boolean;
  readonly onResult: (index: number, result: unknown, item: unknown) => void;
  readonly onError: (index: number, error: Error) => void;
  readonly mayPull?: () => number;
}

export class Calls {
  readonly #isRerun: boolean;
  readonly #worker: AnyWorker<never, unknown>;
  /** Without the hooks, which hold what is around them: what is kept alive by children must not hold the `Parallel`. */
  readonly #options: ParallelOptions<never, never>;
  readonly #launch: LaunchChoice;
  readonly #running = new Map<Scheduler, Promise<void>>();
  /** Of calls whose items have children of their own. */
  readonly #ownPools = new Set<Pool>();
  readonly #name: string;
  readonly #meter = new Meter();
  /** Slots of the pool; `undefined` when each item has a child of its own. */
  #poolSize: number | undefined;
  #opening: Promise<Pool> | undefined;
  #pool: Pool | undefined;
  /** Once `#ready`. */
  #SlotPool: typeof SlotPool | undefined;
  #concurrency: number | undefined;
  /** By which a call whose pool is not open yet knows that `concurrency` was set after it began. */
  #timesResized = 0;
  #closed = false;
  readonly #nextId = counter();
  #succeeded = 0;
  #failed = 0;

  /** @param isRerun - this program only runs to find a worker, and it is not this one: its calls go no further */
  constructor(
    worker: AnyWorker<never, unknown>,
    options: ParallelOptions<never, never>,
    isRerun: boolean,
    launch: LaunchChoice = new ProcessChoice(worker, options),
  ) {
    this.#isRerun = isRerun;
    this.#worker = worker;
    this.#name = worker.constructor.name || "worker";
    this.#options = options;
    this.#launch = launch;
    this.#concurrency = options.concurrency;
    const { pool } = options;
    this.#poolSize = pool === true ? processorCount() : pool === false ? undefined : pool;
  }

  get concurrency(): number | undefined {
    return this.#poolSize ?? this.#concurrency;
  }

  /** Holds for calls under way as well. */
  set concurrency(count: number) {
    if (this.#poolSize === 0) return;
    this.#timesResized += 1;
    if (this.#poolSize === undefined) this.#concurrency = count;
    else this.#poolSize = count;
    for (const pool of this.#ownPools) pool.size = count;
    if (this.#pool) this.#pool.size = this.#slotsFor(count);
  }

  start(plan: CallPlan): Scheduler {
    this.assertOpen();
    // That of a pool says how many slots there are; one of a call, how many of them it may use.
    const concurrency = this.#poolSize === undefined ? this.#concurrency : undefined;
    const base = { ...plan.defaults, concurrency };
    const options = resolveOptions(base as CallOptions, plan.options as CallOptions);
    if (this.#poolSize !== undefined && plan.options.limits !== undefined) {
      throw own(
        new TypeError(
          "The option `limits` of a pool is one of `new Parallel(worker, { pool, limits })`: its children outlive the call",
        ),
      );
    }
    const { wantsResults } = plan;
    const timesResized = this.#timesResized;
    const isKnowing = options.dedupe || options.journal !== undefined;
    return new Scheduler({
      ...plan,
      context: plan.context ?? new CallerContext(),
      options,
      expected: expectedResult(this.#worker),
      recorder: new CallRecorder(this.#name),
      openKnown: isKnowing
        ? async () => {
            const { KnownResults } = await import("../journal/known-results.js");
            return await KnownResults.open(this.#worker, options, wantsResults);
          }
        : undefined,
      ready: () => this.#ready(),
      open: () => this.#open(options, timesResized),
      release: (pool, call) => this.#release(pool, call),
      onResult: (index, result, item) => {
        this.#succeeded += 1;
        plan.onResult(index, result, item);
      },
      onError: (index, error) => {
        this.#failed += 1;
        plan.onError(index, error);
      },
    });
  }

  /** Runs it to its end. */
  async run(scheduler: Scheduler): Promise<void> {
    if (this.#isRerun) return await new Promise(() => {});
    const running = scheduler.run();
    this.#running.set(scheduler, running);
    this.#publish("begun");
    try {
      await running;
      this.#publish("ended");
    } catch (error) {
      this.#publish("ended", error);
      throw error;
    } finally {
      this.#running.delete(scheduler);
    }
  }

  #publish(state: "begun" | "ended", error?: unknown): void {
    if (!diagnostics.calls.hasSubscribers) return;
    const { startMethod: kind } = this.stats();
    const message = { worker: this.#name, state, kind, error };
    diagnostics.calls.publish(message satisfies diagnostics.CallMessage);
  }

  async ready(): Promise<void> {
    this.assertOpen();
    if (this.#isRerun) return await new Promise(() => {});
    await holdingLoop(() => this.#ready());
  }

  async close(): Promise<void> {
    this.#closed = true;
    await holdingLoop(async () => {
      await Promise.allSettled(this.#running.values());
      await (await this.#opening?.catch(() => undefined))?.close();
      await this.#launch.close();
    });
  }

  async destroy(reason: unknown): Promise<void> {
    this.#closed = true;
    for (const call of this.#running.keys()) call.end.halt(reason);
    this.#pool?.killAll();
    await this.close();
  }

  stats(): ParallelStats {
    return {
      startMethod: this.#poolSize === 0 ? "inline" : this.#launch.current?.startMethod,
      reason: this.#launch.reason,
      calls: this.#running.size,
      items: { succeeded: this.#succeeded, failed: this.#failed },
      ...this.#meter.stats(),
      pids: this.#launch.current?.pids ?? [],
    };
  }

  assertOpen(): void {
    if (this.#closed) throw new ClosedError();
  }

  async #ready(): Promise<void> {
    try {
      if (this.#poolSize === 0) {
        await this.#openShared();
        return;
      }
      // What only calls need is loaded while the first child starts, and not in a child: it imports this package with its
      // worker's module, but seldom has calls.
      const [{ SlotPool }] = await Promise.all([
        import("../pool/slot-pool.js"),
        outside(() => this.#launch.ready()),
      ]);
      this.#SlotPool = SlotPool;
    } catch (cause) {
      const shortage = cause instanceof ParallelError ? undefined : shortageOf(cause);
      if (shortage === undefined) throw cause;
      // A module of ours could not be read.
      throw new LaunchError(`Children could not be started: ${shortage}`, { cause });
    }
  }

  async #open(options: ResolvedOptions, timesResized: number): Promise<Pool> {
    if (this.#poolSize !== undefined) return await this.#openShared();
    const pool = await this.#openOwn(options);
    if (timesResized !== this.#timesResized) pool.size = this.#concurrency!;
    return pool;
  }

  async #openShared(): Promise<Pool> {
    const size = this.#poolSize!;
    this.#opening ??= outside(() => (size === 0 ? this.#openInline() : this.#openWarm(size)));
    try {
      const pool = await this.#opening;
      if (!this.#pool) pool.size = this.#slotsFor(this.#poolSize!) || 1;
      return (this.#pool = pool);
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  async #openInline(): Promise<Pool> {
    const { InlinePool } = await import("../pool/inline-pool.js");
    return await InlinePool.open(this.#worker, this.#meter);
  }

  #openWarm(size: number): Promise<Pool> {
    return this.#openPool({
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
    const pool = await this.#openPool({
      size: concurrency ?? this.#launch.current!.defaultConcurrency,
      isShared: false,
      maxItemsPerChild: this.#options.maxItemsPerChild ?? 1,
      scratchRoot,
      limits,
    });
    this.#ownPools.add(pool);
    return pool;
  }

  async #openPool(options: OwnPoolOptions): Promise<SlotPool> {
    const SlotPool = this.#SlotPool!;
    const launcher = this.#launch.current!;
    const all: SlotPoolOptions = {
      ...options,
      maxRss: this.#options.maxRss,
      output: this.#options.output ?? "inherit",
      closeTimeout: this.#options.closeTimeout ?? DEFAULT_CLOSE_TIMEOUT_MS,
      nextId: this.#nextId,
      meter: this.#meter,
      worker: this.#name,
    };
    return await outside(() => SlotPool.open(launcher, all));
  }

  /** The pool stays for the next call. */
  async #release(pool: Pool, call: TaskOwner): Promise<void> {
    pool.remove(call);
    if (pool === this.#pool) return;
    this.#ownPools.delete(pool);
    await pool.close();
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
