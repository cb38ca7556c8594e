/**
 * class Parallel: the verbs. A worker over many items, a process for each:
 *
 *    items (Iterable | AsyncIterable, pulled only when a slot is free)
 *      │
 *      ▼
 *    Scheduler ── order, retries, hooks ─────────────────────────┐
 *      │ task                                                    │ outcome
 *      ▼                                                         │
 *    Attempt ── timeout, kill ── Launcher (fork or spawn)        │
 *      │ line: {"id","payload"}         line: {"id","status"} ──▶│
 *      ▼                                        ▲                │
 *    child: worker.process(item) ── result ──▶ Scratch ──────────┤
 *                                                                ▼
 *                                            results in input order
 */
import { offerWorker } from "./capture.js";
import { describe } from "./describe.js";
import { ClosedError, LaunchError } from "./errors.js";
import { ForkLauncher, UnfitError } from "./launch/fork.js";
import type { Launcher } from "./launch/launcher.js";
import { SpawnLauncher } from "./launch/spawn.js";
import type { ChildSettings } from "./launch/warm-node.js";
import { locateWorker } from "./locate-worker.js";
import {
  type CallOptions,
  checkCallOptions,
  checkConstructorOptions,
  DEFAULT_STARTUP_TIMEOUT_MS,
  type ParallelOptions,
  resolveOptions,
} from "./options.js";
import { forkObstacle } from "./launch/fork-obstacle.js";
import { Scheduler } from "./scheduler.js";
import type { AnyWorker, StartMethod } from "./worker.js";

/** What a `Parallel` is doing. */
export interface ParallelStats {
  /** How children come to be; `undefined` before the first item or `ready()`. */
  readonly startMethod: StartMethod | undefined;
  /** Why it is not `fork`, when nobody asked for `spawn`. */
  readonly reason: string | undefined;
  /** Calls that have not ended. */
  readonly calls: number;
  /** Items that have succeeded and failed, over all calls. */
  readonly items: { readonly succeeded: number; readonly failed: number };
  /** Own processes that are alive: the fork server, or spawned children and their reaper. */
  readonly pids: readonly number[];
}

/**
 * Runs a worker over many items, each in a process of its own.
 *
 * @remarks
 * On Linux the children are forked from a fork server: a warm process, started with the first item, kept between
 * calls, gone with this program however that ends. It never keeps the program alive. Elsewhere, or where fork is not
 * possible (`stats().reason`), each item gets a Node process of its own.
 *
 * @typeParam Item - what the worker's `process` receives
 * @typeParam Result - what it returns
 *
 * @example
 * ```ts
 * import { Parallel, ParallelWorker } from "forkmap";
 *
 * export class Double extends ParallelWorker<number> {
 *   process(n: number): string {
 *     return String(n * 2);
 *   }
 * }
 *
 * await using parallel = new Parallel(new Double(), { concurrency: 4, timeout: 10_000 });
 * console.log(await parallel.mapProcesses([1, 2, 3])); // [ '2', '4', '6' ]
 * ```
 */
export class Parallel<Item, Result> {
  readonly #worker: AnyWorker<Item, Result>;
  readonly #options: ParallelOptions<Item, Result>;
  readonly #calls = new Map<Scheduler, Promise<unknown>>();
  /** This program is only being run to find a worker, and it is not this one: its calls go no further. */
  readonly #isRerun: boolean;
  #launcher: Launcher | undefined;
  #ready: Promise<Launcher> | undefined;
  #reason: string | undefined;
  #closed = false;
  #lastId = 0;
  #succeeded = 0;
  #failed = 0;

  /**
   * @param worker - an instance of a subclass of `ParallelWorker` or `JsonWorker`; its own fields travel to the children
   * @param options - defaults of the calls, and how children come to be
   *
   * @throws TypeError for a value that is not a worker, an unknown option or a wrong value, naming it
   */
  constructor(worker: AnyWorker<Item, Result>, options: ParallelOptions<Item, Result> = {}) {
    checkWorker(worker);
    checkConstructorOptions(options);
    this.#worker = worker;
    this.#options = { ...options };
    this.#isRerun = offerWorker(worker);
  }

  /**
   * The results of `process` for all items, in the order of the items.
   *
   * @param items - any Iterable or AsyncIterable; the next one is pulled when a slot is free
   * @param options - override those of the constructor
   *
   * @throws ItemError (or a subclass) the first in time, once the items in flight are done
   * @throws AggregateError with every error in the order of the items, with `stopOnError: false`
   * @throws WorkerModuleError when the worker cannot be had in another process
   * @throws LaunchError when children cannot be started at all
   * @throws ClosedError after `close` or `destroy`
   * @throws TypeError for bad items or options
   * @throws the reason of `signal` when that aborts
   *
   * @example
   * ```ts
   * import { Parallel, ParallelWorker } from "forkmap";
   *
   * export class Pid extends ParallelWorker<number> {
   *   process(n: number): string {
   *     return `${n}:${process.pid}`;
   *   }
   * }
   *
   * const results = await new Parallel(new Pid()).mapProcesses([1, 2, 3, 4]);
   * console.log(new Set(results.map((each) => each.split(":")[1])).size); // 4
   * ```
   */
  async mapProcesses(
    items: Iterable<Item> | AsyncIterable<Item>,
    options: CallOptions<Item, Result> = {},
  ): Promise<Result[]> {
    const results: Result[] = [];
    await this.#callOrThrow(items, options, true, (index, result) => {
      results[index] = result;
    });
    return results;
  }

  /**
   * Runs `process` for every item and drops what it returns.
   *
   * @param items - any Iterable or AsyncIterable; the next one is pulled when a slot is free
   * @param options - override those of the constructor
   * @returns the number of failed items, once every child has exited: 0, as any failure rejects
   *
   * @throws as `mapProcesses`
   */
  async eachProcess(
    items: Iterable<Item> | AsyncIterable<Item>,
    options: CallOptions<Item, Result> = {},
  ): Promise<number> {
    await this.#callOrThrow(items, options, false, () => {});
    return 0;
  }

  /**
   * What became of every item, in the order of the items, as `Promise.allSettled` tells it. Runs all of them:
   * `stopOnError` has no say here.
   *
   * @param items - any Iterable or AsyncIterable; the next one is pulled when a slot is free
   * @param options - override those of the constructor
   *
   * @throws as `mapProcesses`, but for `ItemError` and `AggregateError`: a `reason` is where those are
   */
  async mapSettled(
    items: Iterable<Item> | AsyncIterable<Item>,
    options: CallOptions<Item, Result> = {},
  ): Promise<PromiseSettledResult<Result>[]> {
    checkCallOptions(options);
    const settled: PromiseSettledResult<Result>[] = [];
    const onError = (index: number, reason: Error) => {
      settled[index] = { status: "rejected", reason };
    };
    await this.#call(items, { ...options, stopOnError: false }, true, onError, (index, value) => {
      settled[index] = { status: "fulfilled", value };
    });
    return settled;
  }

  /**
   * Starts what the first item would start: the fork server, with the worker loaded and preloaded in it.
   *
   * @throws WorkerModuleError, LaunchError, ClosedError as `mapProcesses` would
   */
  async ready(): Promise<void> {
    this.#assertOpen();
    if (this.#isRerun) return await new Promise(() => {});
    await this.#prepare();
  }

  /** Takes no more calls, waits for those under way, ends the fork server. Calling it again is harmless. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#calls.values());
    await this.#launcher?.close();
    await this.#ready?.catch(() => {});
  }

  /**
   * Kills all children, ends the fork server; calls under way reject with `reason`. Calling it again is harmless.
   *
   * @param reason - what the calls reject with; a `ClosedError` unless given
   */
  async destroy(reason: unknown = new ClosedError("This Parallel was destroyed")): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls.keys()) call.halt(reason);
    await this.close();
  }

  /** The same as `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** What this `Parallel` is doing right now. */
  stats(): ParallelStats {
    return {
      startMethod: this.#launcher?.startMethod,
      reason: this.#reason,
      calls: this.#calls.size,
      items: { succeeded: this.#succeeded, failed: this.#failed },
      pids: this.#launcher?.pids ?? [],
    };
  }

  async #callOrThrow(
    items: Iterable<Item> | AsyncIterable<Item>,
    options: CallOptions<Item, Result>,
    wantsResults: boolean,
    onResult: (index: number, result: Result) => void,
  ): Promise<void> {
    const errors: Error[] = [];
    const onError = (index: number, error: Error) => {
      errors[index] = error;
    };
    const count = await this.#call(items, options, wantsResults, onError, onResult);
    const inOrder = Object.values(errors);
    if (inOrder.length === 0) return;
    throw new AggregateError(inOrder, `${inOrder.length} of ${count} items failed`);
  }

  /** Resolves with the number of items. */
  async #call(
    items: Iterable<Item> | AsyncIterable<Item>,
    own: CallOptions<Item, Result>,
    wantsResults: boolean,
    onError: (index: number, error: Error) => void,
    onResult: (index: number, result: Result) => void,
  ): Promise<number> {
    checkCallOptions(own);
    this.#assertOpen();
    if (this.#isRerun) return await new Promise(() => {});
    let count = 0;
    const scheduler = new Scheduler({
      items,
      options: resolveOptions(this.#options as CallOptions, own as CallOptions),
      wantsResults,
      expected: expectedResult(this.#worker),
      launcher: () => this.#prepare(),
      nextId: () => String((this.#lastId += 1)),
      onResult: (index, result) => {
        count += 1;
        this.#succeeded += 1;
        onResult(index, result as Result);
      },
      onError: (index, error) => {
        count += 1;
        this.#failed += 1;
        onError(index, error);
      },
    });
    const running = scheduler.run();
    this.#calls.set(scheduler, running);
    try {
      await running;
    } finally {
      this.#calls.delete(scheduler);
    }
    return count;
  }

  #assertOpen(): void {
    if (this.#closed) throw new ClosedError();
  }

  /** The launcher, ready. Tried anew by the next call when it fails. */
  #prepare(): Promise<Launcher> {
    if (!this.#ready) {
      this.#ready = this.#launch();
      this.#ready.catch(() => (this.#ready = undefined));
    }
    return this.#ready;
  }

  async #launch(): Promise<Launcher> {
    const { startMethod } = this.#options;
    const settings = this.#settings();
    const locate = () => locateWorker(this.#worker, this.#options.module, settings.execArgv);
    if (startMethod !== "spawn") {
      this.#reason = forkObstacle(settings.execArgv) ?? (await this.#tryFork(locate, settings));
      if (this.#reason === undefined) return this.#launcher!;
      if (startMethod === "fork")
        throw new LaunchError(`Children cannot be forked here: ${this.#reason}`);
      if (process.platform === "linux") warnOfSpawn(this.#reason);
    }
    this.#launcher = new SpawnLauncher(locate, settings);
    await this.#launcher.ready();
    return this.#launcher;
  }

  /** Why it cannot be, or nothing when it could. */
  async #tryFork(
    locate: () => ReturnType<typeof locateWorker>,
    settings: ChildSettings,
  ): Promise<string | undefined> {
    this.#launcher = new ForkLauncher(locate, settings);
    try {
      await this.#launcher.ready();
      return undefined;
    } catch (error) {
      if (error instanceof UnfitError) return error.message;
      throw error;
    }
  }

  #settings(): ChildSettings {
    const { execArgv, env, cwd, startupTimeout } = this.#options;
    return {
      execArgv: execArgv ?? process.execArgv,
      env: { ...(env ?? process.env) },
      cwd,
      startupTimeout: startupTimeout ?? DEFAULT_STARTUP_TIMEOUT_MS,
    };
  }
}

function checkWorker(worker: unknown): void {
  const isObject = typeof worker === "object" && worker !== null;
  if (isObject && typeof (worker as { process?: unknown }).process === "function") {
    const prototype = Object.getPrototypeOf(worker) as object | null;
    if (prototype !== null && prototype !== Object.prototype) return;
    throw new TypeError(
      "Expected an instance of a class that extends ParallelWorker, got an object literal: another process needs its class",
    );
  }
  const isClass =
    typeof worker === "function" &&
    typeof (worker as { prototype?: { process?: unknown } }).prototype?.process === "function";
  throw new TypeError(
    isClass
      ? `Expected an instance of ${(worker as { name: string }).name}, got the class itself: write new Parallel(new ${(worker as { name: string }).name}())`
      : `Expected an instance of a class that extends ParallelWorker and has process(item), got ${describe(worker)}`,
  );
}

function expectedResult(worker: object): string {
  return (worker.constructor as { resultFormat?: unknown }).resultFormat === "json"
    ? "a JSON value"
    : "a string or a Uint8Array (a JsonWorker returns JSON values)";
}

const warned = new Set<string>();

/** Once per reason: it makes every item some thirty times as slow to start. */
function warnOfSpawn(reason: string): void {
  if (warned.has(reason)) return;
  warned.add(reason);
  process.emitWarning(`Children are spawned, not forked: ${reason}`, {
    type: "ForkmapWarning",
    code: "FORKMAP_SPAWN",
    detail: 'Set `startMethod: "spawn"` if that is what you want.',
  });
}
