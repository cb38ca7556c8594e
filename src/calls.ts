/**
 * The calls of one `Parallel`, and what they share: the launcher, the pool, and the numbers that `stats()` tells. The verbs
 * of `Parallel` say what becomes of results and errors; here a call is made, run, counted and ended.
 */
import { expectedResult } from "./check-worker.js";
import { Container, type ContainerOptions } from "./container/container.js";
import { ClosedError } from "./errors.js";
import { LauncherChoice } from "./launch/launcher-choice.js";
import type { Launcher } from "./launch/launcher.js";
import {
  type CallOptions,
  type ParallelOptions,
  type ResolvedOptions,
  resolveOptions,
} from "./options.js";
import { processorCount } from "./processor-count.js";
import { Scheduler } from "./scheduler.js";
import type { ParallelStats } from "./stats.js";
import type { TaskOwner } from "./task.js";
import type { AnyWorker } from "./worker.js";

/** What one call is to do. */
export interface CallPlan {
  readonly items: Iterable<unknown> | AsyncIterable<unknown>;
  readonly options: CallOptions<never, never>;
  readonly wantsResults: boolean;
  readonly onResult: (index: number, result: unknown) => void;
  readonly onError: (index: number, error: Error) => void;
  readonly mayPull?: () => number;
}

export class Calls {
  readonly #isRerun: boolean;
  readonly #worker: AnyWorker<never, unknown>;
  readonly #options: ParallelOptions<never, never>;
  readonly #launch: LauncherChoice;
  readonly #running = new Map<Scheduler, Promise<void>>();
  readonly #containers = new Set<Container>();
  /** Slots of the pool; `undefined` when each item has a child of its own. */
  #poolSize: number | undefined;
  #opening: Promise<Container> | undefined;
  #pool: Container | undefined;
  #concurrency: number | undefined;
  #closed = false;
  #lastId = 0;
  #succeeded = 0;
  #failed = 0;

  /** @param isRerun - this program only runs to find a worker, and it is not this one: its calls go no further */
  constructor(
    worker: AnyWorker<never, unknown>,
    options: ParallelOptions<never, never>,
    isRerun: boolean,
  ) {
    this.#isRerun = isRerun;
    this.#worker = worker;
    this.#options = options;
    this.#launch = new LauncherChoice(worker, options);
    this.#concurrency = options.concurrency;
    const { pool } = options;
    this.#poolSize = pool === true ? processorCount() : pool === false ? undefined : pool;
  }

  get concurrency(): number | undefined {
    return this.#concurrency;
  }

  /** Holds for calls under way as well. */
  set concurrency(count: number) {
    this.#concurrency = count;
    for (const container of this.#containers) if (container !== this.#pool) container.size = count;
  }

  get poolSize(): number | undefined {
    return this.#poolSize;
  }

  set poolSize(size: number) {
    this.#poolSize = size;
    if (this.#pool) this.#pool.size = size;
  }

  start(plan: CallPlan): Scheduler {
    this.assertOpen();
    const options = resolveOptions(this.#options as CallOptions, plan.options as CallOptions);
    return new Scheduler({
      ...plan,
      options,
      expected: expectedResult(this.#worker),
      launcher: () => this.#launch.ready(),
      open: (launcher) => this.#open(launcher, options),
      release: (container, call) => this.#release(container, call),
      onResult: (index, result) => {
        this.#succeeded += 1;
        plan.onResult(index, result);
      },
      onFailure: () => {},
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
    try {
      await running;
    } finally {
      this.#running.delete(scheduler);
    }
  }

  async ready(): Promise<void> {
    this.assertOpen();
    if (this.#isRerun) return await new Promise(() => {});
    await this.#launch.ready();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#running.values());
    await (await this.#opening?.catch(() => undefined))?.close();
    await this.#launch.close();
  }

  async destroy(reason: unknown): Promise<void> {
    this.#closed = true;
    for (const call of this.#running.keys()) call.halt(reason);
    this.#pool?.killAll();
    await this.close();
  }

  stats(): ParallelStats {
    return {
      startMethod: this.#launch.current?.startMethod,
      reason: this.#launch.reason,
      calls: this.#running.size,
      items: { succeeded: this.#succeeded, failed: this.#failed },
      pids: this.#launch.current?.pids ?? [],
    };
  }

  assertOpen(): void {
    if (this.#closed) throw new ClosedError();
  }

  #open(launcher: Launcher, options: ResolvedOptions): Promise<Container> {
    return this.#poolSize === undefined
      ? this.#openOwn(launcher, options)
      : (this.#opening ??= this.#openPool(launcher, this.#poolSize));
  }

  async #openPool(launcher: Launcher, size: number): Promise<Container> {
    try {
      this.#pool = await this.#openContainer(launcher, {
        size,
        isPool: true,
        maxItemsPerChild: this.#options.maxItemsPerChild ?? Infinity,
        scratchRoot: this.#options.scratchRoot,
        limits: this.#options.limits,
      });
      return this.#pool;
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  #openOwn(launcher: Launcher, { concurrency, scratchRoot, limits }: ResolvedOptions) {
    return this.#openContainer(launcher, {
      size: concurrency ?? launcher.defaultConcurrency,
      isPool: false,
      maxItemsPerChild: this.#options.maxItemsPerChild ?? 1,
      scratchRoot,
      limits,
    });
  }

  async #openContainer(
    launcher: Launcher,
    options: Omit<ContainerOptions, "maxRss" | "nextId">,
  ): Promise<Container> {
    const container = await Container.open(launcher, {
      ...options,
      maxRss: this.#options.maxRss,
      nextId: () => String((this.#lastId += 1)),
    });
    this.#containers.add(container);
    return container;
  }

  /** The pool stays for the next call. */
  async #release(container: Container, call: TaskOwner): Promise<void> {
    container.remove(call);
    if (container === this.#pool) return;
    this.#containers.delete(container);
    await container.close();
  }
}
