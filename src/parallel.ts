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
import { checkWorker, expectedResult } from "./check-worker.js";
import { ClosedError } from "./errors.js";
import { LauncherChoice } from "./launch/launcher-choice.js";
import {
  type CallOptions,
  checkCallOptions,
  checkConstructorOptions,
  type ParallelOptions,
  resolveOptions,
} from "./options.js";
import { Scheduler } from "./scheduler.js";
import type { ParallelStats } from "./stats.js";
import type { AnyWorker } from "./worker.js";

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
  readonly #launch: LauncherChoice;
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
    this.#launch = new LauncherChoice(worker, this.#options);
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
   *
   * @example
   * ```ts
   * import { Parallel, ParallelWorker } from "forkmap";
   *
   * export class Check extends ParallelWorker<string, void> {
   *   process(json: string): void {
   *     JSON.parse(json);
   *   }
   * }
   *
   * console.log(await new Parallel(new Check()).eachProcess(["1", "[]"])); // 0
   * ```
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
   *
   * @example
   * ```ts
   * import { DeadChildError, Parallel, ParallelWorker } from "forkmap";
   *
   * export class Exit extends ParallelWorker<number> {
   *   process(code: number): string {
   *     return code === 0 ? "stayed" : process.exit(code);
   *   }
   * }
   *
   * const [first, second] = await new Parallel(new Exit()).mapSettled([0, 3]);
   * console.log(first?.status); // fulfilled
   * if (second?.status === "rejected" && second.reason instanceof DeadChildError) {
   *   console.log(second.reason.exitCode); // 3
   * }
   * ```
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
    await this.#launch.ready();
  }

  /** Takes no more calls, waits for those under way, ends the fork server. Calling it again is harmless. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#calls.values());
    await this.#launch.close();
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
      startMethod: this.#launch.current?.startMethod,
      reason: this.#launch.reason,
      calls: this.#calls.size,
      items: { succeeded: this.#succeeded, failed: this.#failed },
      pids: this.#launch.current?.pids ?? [],
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
      launcher: () => this.#launch.ready(),
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
}
