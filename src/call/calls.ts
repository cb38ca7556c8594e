/**
 * The folder holds a call on its way from items to results: the scheduler, its feed of items, retries, hooks, the
 * delivery of results, streams and searches. Here: the calls of one `Parallel`, which are made, counted and ended
 * together. The verbs of `Parallel` decide what becomes of results and errors; Pools decides where items run.
 */
import { ClosedError, own } from "../errors.js";
import type { DeferredLaunch } from "../launch/launcher.js";
import * as diagnostics from "../observe/diagnostics.js";
import { Histogram } from "../observe/histogram.js";
import { Meter, type ParallelStats, type QueueStats } from "../observe/stats.js";
import {
  type CallOptions,
  type ParallelOptions,
  type ResolvedOptions,
  resolveOptions,
  type RunVerb,
} from "../options.js";
import { stopHere } from "../worker/capture.js";
import { expectedResult } from "../worker/check-worker.js";
import { nameOf } from "../worker/function-worker.js";
import type { AnyWorker } from "../worker/worker.js";
import type { ItemOutcome } from "../pool/engine.js";
import type { BatchItems } from "./batch-run.js";
import { BatchRuns } from "./batch-runs.js";
import { CallRecorder } from "./call-recorder.js";
import type { CallSite } from "./call-site.js";
import { CallerContext } from "./caller-context.js";
import { holdingLoop } from "../launch/loop-hold.js";
import { Pools } from "./pools.js";
import { RunQueue } from "./run-queue.js";
import type { RunItemOptions } from "./run-task.js";
import { Scheduler } from "./scheduler.js";

const NO_QUEUE: QueueStats = {
  waiting: 0,
  oldest: 0,
  refused: 0,
  waitTime: new Histogram().summary(),
};

/** What a verb asks for. */
export interface CallPlan {
  /** The context in which hooks and the iterator run; by default the one in which the call is started. */
  readonly context?: CallerContext;
  readonly site: CallSite;
  /** The options of `new Parallel`, which `options` override. */
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
  readonly #runVerb: RunVerb;
  readonly #worker: AnyWorker<never, unknown>;
  readonly #name: string;
  readonly #launch: DeferredLaunch;
  readonly #pools: Pools;
  readonly #options: ParallelOptions<never, never>;
  readonly #meter = new Meter();
  readonly #running = new Map<Scheduler, Promise<void>>();
  /** The calls of `run`; created by the first. */
  #runs: RunQueue | undefined;
  /** Of those, the ones whose results are dropped: only a machine that serves a queue has some. */
  #drops: RunQueue | undefined;
  #batches: BatchRuns | undefined;
  #closing: Promise<void> | undefined;
  #succeeded = 0;
  #failed = 0;

  /**
   * @param options - without the hooks: children keep this object alive, and a hook's closure may reach the `Parallel`
   * @param isRerun - whether the program only runs again to find another worker: its calls never return
   * @param runVerb - what runs a single item in these processes or threads
   */
  constructor(
    worker: AnyWorker<never, unknown>,
    options: ParallelOptions<never, never>,
    isRerun: boolean,
    launch: DeferredLaunch,
    runVerb: RunVerb,
  ) {
    this.#runVerb = runVerb;
    this.#isRerun = isRerun;
    this.#options = options;
    this.#worker = worker;
    this.#name = nameOf(worker);
    this.#launch = launch;
    this.#pools = new Pools(worker, options, launch, this.#meter);
  }

  get concurrency(): number | undefined {
    return this.#pools.concurrency;
  }

  /** Applies to calls under way as well. */
  set concurrency(count: number) {
    this.#pools.concurrency = count;
  }

  start(plan: CallPlan): Scheduler {
    this.assertOpen();
    const { areShared } = this.#pools;
    // The number of slots of a shared pool is no default for a call, where it is how many of them the call may use.
    const concurrency = areShared ? undefined : this.#pools.concurrency;
    const base = { ...plan.defaults, concurrency };
    const options = resolveOptions(base as CallOptions, plan.options as CallOptions);
    if (areShared && plan.options.limits !== undefined) {
      throw own(
        new TypeError(
          "The option `limits` of a pool is one of `new Parallel(worker, { pool, limits })`: its children outlive the call",
        ),
      );
    }
    const { wantsResults } = plan;
    const mayKnow = options.dedupe || options.journal !== undefined;
    return new Scheduler({
      ...plan,
      context: plan.context ?? new CallerContext(),
      options,
      expected: expectedResult(this.#worker, options.serialization),
      recorder: new CallRecorder(this.#name),
      openKnown: mayKnow
        ? async (events) => {
            const { KnownResults } = await import("../journal/known-results.js");
            const { KnownTasks } = await import("./known-tasks.js");
            return new KnownTasks(
              await KnownResults.open(this.#worker, options, wantsResults),
              events,
            );
          }
        : undefined,
      ready: () => this.#pools.ready(),
      open: this.#pools.openerFor(options),
      release: (pool, call) => this.#pools.release(pool, call),
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

  /** Runs the call to its end. */
  async run(scheduler: Scheduler): Promise<void> {
    if (this.#isRerun) return await stopHere();
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

  /** Runs one item. */
  runItem(item: unknown, options: RunItemOptions, index?: number): Promise<unknown> {
    this.assertOpen();
    if (this.#isRerun) return stopHere();
    const queue = options.wantsResult === false ? this.#dropping : this.#queue;
    return queue.run(item, options, index);
  }

  /** Runs a batch from elsewhere in the shared pool. */
  async runBatch(items: BatchItems): Promise<readonly ItemOutcome[]> {
    this.assertOpen();
    this.#batches ??= new BatchRuns(async () => {
      const options = this.#runOptions();
      await this.#pools.ready();
      const pool = await this.#pools.openerFor(options)();
      return { pool, options, expected: expectedResult(this.#worker, options.serialization) };
    });
    return await this.#batches.run(items);
  }

  /**
   * Whether a call with one item may be a `run`, which costs a fifth of a call: nobody can tell, if children are shared and
   * nothing is observed.
   */
  get mayRunSingly(): boolean {
    const isPool = this.#pools.areShared && !this.#pools.areInline;
    return isPool && this.#options.maxQueue === undefined && !diagnostics.calls.hasSubscribers;
  }

  onDrain(): Promise<void> {
    this.assertOpen();
    return this.#queue.onDrain();
  }

  get #singles(): (RunQueue | BatchRuns)[] {
    return [this.#runs, this.#drops, this.#batches].filter((each) => each !== undefined);
  }

  get #queue(): RunQueue {
    return (this.#runs ??= this.#makeRuns(true));
  }

  get #dropping(): RunQueue {
    return (this.#drops ??= this.#makeRuns(false));
  }

  #runOptions(): ResolvedOptions {
    const { maxQueue: _, ...options } = this.#options;
    const concurrency = this.#pools.areShared ? undefined : this.#pools.concurrency;
    return resolveOptions({ ...options, concurrency } as CallOptions, {});
  }

  #makeRuns(wantsResults: boolean): RunQueue {
    const { maxQueue } = this.#options;
    const pools = this.#pools;
    const resolved = this.#runOptions();
    return new RunQueue({
      options: resolved,
      wantsResults,
      verb: this.#runVerb,
      maxQueue,
      expected: expectedResult(this.#worker, resolved.serialization),
      recorder: new CallRecorder(this.#name),
      isInline: pools.areInline,
      // Where an item waits on its way through an engine is not known: it counts as begun.
      perPlace: pools.areElsewhere ? Infinity : resolved.fibers,
      keepsPool: pools.areShared,
      slots: {
        get size() {
          return pools.slots;
        },
      },
      call: {
        ready: () => pools.ready(),
        open: pools.openerFor(resolved),
        release: (pool, call) => pools.release(pool, call),
      },
      onSettled: (isSuccess) => {
        if (isSuccess) this.#succeeded += 1;
        else this.#failed += 1;
      },
    });
  }

  #publish(state: "begun" | "ended", error?: unknown): void {
    if (!diagnostics.calls.hasSubscribers) return;
    const { startMethod: kind } = this.stats();
    const message = { worker: this.#name, state, kind, error };
    diagnostics.calls.publish(message satisfies diagnostics.CallMessage);
  }

  async ready(): Promise<void> {
    this.assertOpen();
    if (this.#isRerun) return await stopHere();
    await holdingLoop(() => this.#pools.ready());
  }

  close(): Promise<void> {
    return (this.#closing ??= holdingLoop(() => this.#close()));
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#running.values());
    for (const each of this.#singles) await each.idle();
    await this.#pools.closeShared();
    await this.#launch.close();
  }

  async destroy(reason: unknown): Promise<void> {
    const closed = this.close();
    for (const call of this.#running.keys()) call.end.halt(reason);
    for (const each of this.#singles) each.destroy(reason);
    this.#pools.killShared();
    await closed;
  }

  stats(): ParallelStats {
    return {
      startMethod: this.#pools.areInline ? "inline" : this.#launch.current?.startMethod,
      reason: this.#launch.reason,
      machines: this.#pools.machines,
      calls: this.#singles.reduce((sum, { size }) => sum + size, this.#running.size),
      queue: this.#runs?.stats() ?? NO_QUEUE,
      items: { succeeded: this.#succeeded, failed: this.#failed },
      ...this.#meter.stats(),
      pids: this.#launch.current?.pids ?? [],
    };
  }

  assertOpen(): void {
    if (this.#closing) throw new ClosedError();
  }
}
