/**
 * class Parallel: its public methods. A worker over many items, in other processes:
 *
 *    items (Iterable | AsyncIterable, pulled only when a slot is free)
 *      ▼
 *    Scheduler ── order, retries, hooks, journal ──▶ results in input order
 *      │ tasks                    ▲ outcomes
 *      ▼                          │
 *    SlotPool ── slots by num: batches, timeouts ◀───────────────────┐
 *      │ Launcher (fork or spawn) ▲                                  │
 *      │ line: {"id","payload"}   │ line: {"id","status"}            │
 *      ▼                          │                                  │
 *    child: setup, worker.process(item) ..., teardown                │
 *      ├── begun, ended, result ──▶ Ledger (memory both see) ────────┤
 *      └── long result ───────────▶ Scratch (a file) ────────────────┘
 */
import { CallSite, claimAwaited, claimLate } from "./call/call-site.js";
import { CallerContext } from "./call/caller-context.js";
import { Calls } from "./call/calls.js";
import { ResultStream } from "./call/result-stream.js";
import { NO_OPTIONS, type RunItemOptions } from "./call/run-task.js";
import type { Scheduler } from "./call/scheduler.js";
import { anyIs, findFirst } from "./call/search.js";
import {
  checkCallOptions,
  checkCommandOptions,
  checkConcurrency,
  checkConstructorOptions,
  checkEngineOptions,
  checkRunDefaults,
  checkRunOptions,
  checkStreamOptions,
  checkThreadOptions,
  OF_MANY_ITEMS,
  RUN_RULES,
} from "./check-options.js";
import { ClosedError, ItemError, own, ParallelError, throwIfAny } from "./errors.js";
import { commandChoice, processChoice, threadChoice } from "./launch/choices.js";
import type { ParallelStats } from "./observe/stats.js";
import {
  type CallOptions,
  type ParallelOptions,
  type ResolvedOptions,
  type RunOptions,
  type RunVerb,
  type StreamOptions,
  withCommandDefaults,
} from "./options.js";
import { describe } from "./system/describe.js";
import { processorCount } from "./system/processor-count.js";
import { offerWorker } from "./worker/capture.js";
import { checkWorker } from "./worker/check-worker.js";
import { commandOf } from "./worker/command-worker.js";
import {
  definitionOf,
  FunctionWorker,
  type JsonKeeps,
  type WorkerFunction,
} from "./worker/function-worker.js";
import { workerNameOf } from "./worker/worker-name.js";
import { countDefinition } from "./worker/locate-worker.js";
import type { AnyWorker } from "./worker/worker.js";

type Items<Item> = Iterable<Item> | AsyncIterable<Item>;

/**
 * Runs a worker over many items, each in a process of its own, or in a pool of processes (option `pool`).
 *
 * @remarks
 * On Linux the children are forked from a fork server: a warm process that starts with the first item and
 * stays for later calls. It ends with this program, however the program ends, and never keeps it alive. Elsewhere, or
 * where fork is not possible (`stats().reason`), each child is a newly started Node process.
 *
 * @typeParam Item - what the worker's `process` receives
 * @typeParam Result - what it returns
 *
 * @example
 * ```ts
 * import { Parallel } from "forkmap";
 *
 * const double = (n: number) => n * 2;
 *
 * const parallel = new Parallel(double, { concurrency: 4, timeout: 10_000 });
 * console.log(await parallel.mapProcesses([1, 2, 3])); // [ 2, 4, 6 ]
 * await parallel.close();
 * ```
 */
export class Parallel<Item, Result> {
  readonly #calls: Calls;
  readonly #options: ParallelOptions<Item, Result>;
  /** The constructor's options; for a `CommandWorker` with its own defaults filled in. */
  readonly #defaults: ParallelOptions<never, never>;
  readonly #isCommand: boolean;
  readonly #makeThreadCalls: () => Calls;
  /** The calls that run in worker threads; created by the first `mapThreads` or `eachThread`. */
  #threadCalls: Calls | undefined;

  /**
   * For items and results that travel by structured clone: of any type.
   *
   * @param worker - as below
   * @param options - with `serialization: "advanced"`
   *
   * @throws TypeError as below
   */
  constructor(
    worker: AnyWorker<Item, Result> | WorkerFunction<Item, Result>,
    options: ParallelOptions<Item, Result> & { readonly serialization: "advanced" },
  );
  /**
   * @param worker - a function, see `WorkerFunction`; an instance of a subclass of `ParallelWorker` or `JsonWorker`, whose own fields travel to the children; or a `CommandWorker`
   * @param options - defaults of the calls, and how children are started
   *
   * @throws TypeError for a value that is not a worker, an unknown option or a wrong value, naming it
   */
  constructor(worker: JsonKeeps<Item, Result>, options?: ParallelOptions<Item, Result>);
  constructor(
    given: AnyWorker<Item, Result> | WorkerFunction<Item, Result>,
    options: ParallelOptions<Item, Result> = {},
  ) {
    const command = new CallSite(new.target).check(() => {
      checkWorker(given);
      const found = commandOf(given);
      if (found) checkCommandOptions(options as ParallelOptions);
      checkConstructorOptions(options);
      if (options.engine)
        workerNameOf(typeof given === "function" ? new FunctionWorker(given) : given);
      return found;
    });
    const worker = typeof given === "function" ? new FunctionWorker(given) : given;
    const isRerun = offerWorker(worker);
    countDefinition(definitionOf(worker));
    const defaults = { ...options } as ParallelOptions<never, never>;
    this.#defaults = command ? withCommandDefaults(defaults) : defaults;
    const { onStart: _, onFinish: __, signal: ___, tag: ____, ...own } = this.#defaults;
    const anyWorker = worker as AnyWorker<never, unknown>;
    this.#options = options;
    this.#isCommand = command !== undefined;
    const choice = command ? commandChoice(command, own) : processChoice(worker, own);
    this.#calls = new Calls(anyWorker, own, isRerun, choice, "run");
    dropped.register(this, this.#calls);
    this.#makeThreadCalls = () => {
      const { threads: _threads, ...given } = own;
      const choice = threadChoice(anyWorker, own);
      const pooled = { ...given, pool: this.#threadCount };
      const calls = new Calls(anyWorker, pooled, isRerun, choice, "runThread");
      dropped.register(this, calls);
      return calls;
    };
  }

  /**
   * Returns the results of `process` for all items, in the order of the items.
   *
   * @param items - any Iterable or AsyncIterable; pulled when a slot is free
   * @param options - override those of the constructor
   *
   * @throws ItemError (or a subclass) the first in time, once the items in flight are done
   * @throws AggregateError with every error in the order of the items, with `stopOnError: false`
   * @throws WorkerModuleError when the worker cannot be recreated in another process
   * @throws LaunchError when children cannot be started at all
   * @throws ClosedError after `close` or `destroy`
   * @throws TypeError for bad items or options
   * @throws the reason of `signal` when it aborts
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
  mapProcesses(items: Items<Item>, options: CallOptions<Item, Result> = {}): Promise<Result[]> {
    return this.#map(Parallel.prototype.mapProcesses, items, options, (results) => results);
  }

  /**
   * Returns the result of `process` for one item. For items that come one by one, from many callers: in a server, each
   * request handler awaits its own.
   *
   * @remarks
   * First come, first served. Items that wait for a slot are sent to children in batches as the items of one call are, and
   * each has its own result or error. Without `pool` each has a child of its own. More than `maxQueue` are not taken:
   * `onDrain` tells when there is room again. The `index` of an item is how many were taken before it. `stopOnError` and `halt` do
   * not concern `run`.
   *
   * @param item - what `process` receives
   * @param options - of this item alone
   *
   * @throws ItemError (or a subclass) when the item fails
   * @throws QueueFullError when `maxQueue` items wait already
   * @throws WorkerModuleError when the worker cannot be recreated in another process
   * @throws LaunchError when children cannot be started at all
   * @throws ClosedError after `close` or `destroy`
   * @throws TypeError for a bad item or options, and for options of `new Parallel` that are for calls with many items
   * @throws the reason of `signal` when it aborts, once the item no longer runs
   *
   * @example
   * ```ts
   * import { Parallel, ParallelWorker } from "forkmap";
   *
   * export class Shout extends ParallelWorker {
   *   process(text: string): string {
   *     return `${text.toUpperCase()}!`;
   *   }
   * }
   *
   * const parallel = new Parallel(new Shout(), { pool: 2, maxQueue: 100 });
   * console.log(await parallel.run("hello", { timeout: 1000 })); // HELLO!
   * await parallel.close();
   * ```
   */
  run(item: Item, options: RunOptions = NO_OPTIONS): Promise<Result> {
    return this.#runItem(Parallel.prototype.run, item, options);
  }

  /**
   * As `run`, in a thread of this process: see `mapThreads`.
   *
   * @param item - what `process` receives
   * @param options - of this item alone
   *
   * @throws as `run`; TypeError for `limits`, `cwd` and another `output` than `"inherit"`, which only a process can have
   *
   * @example
   * ```ts
   * import { Parallel, ParallelWorker } from "forkmap";
   *
   * export class Where extends ParallelWorker<number> {
   *   process(n: number, { kind }: { kind: string }): string {
   *     return `${n} in a ${kind}`;
   *   }
   * }
   *
   * const parallel = new Parallel(new Where(), { concurrency: 2 });
   * console.log(await parallel.runThread(1)); // 1 in a thread
   * await parallel.close();
   * ```
   */
  runThread(item: Item, options: RunOptions = NO_OPTIONS): Promise<Result> {
    return this.#runItem(Parallel.prototype.runThread, item, options);
  }

  /**
   * Resolves as soon as one more `run` would not be refused: fewer than `maxQueue` items wait; without `maxQueue`, none.
   * Several callers that await it are let go one for each free place, in the order in which they came.
   *
   * @param verb - what will be called; processes and threads have a queue each
   *
   * @throws ClosedError after `close` or `destroy`
   * @throws TypeError for another verb
   *
   * @example
   * ```ts
   * import { Parallel, ParallelWorker } from "forkmap";
   *
   * export class Square extends ParallelWorker<number> {
   *   process(n: number): string {
   *     return String(n * n);
   *   }
   * }
   *
   * const parallel = new Parallel(new Square(), { pool: 2, maxQueue: 10 });
   * let sum = 0;
   * for (let n = 1; n <= 1000; n += 1) {
   *   await parallel.onDrain();
   *   parallel.run(n).then((square) => (sum += Number(square)), console.error);
   * }
   * await parallel.close();
   * console.log(sum); // 333833500
   * ```
   */
  async onDrain(verb: RunVerb = "run"): Promise<void> {
    await new CallSite(Parallel.prototype.onDrain).check(() => {
      if (verb !== "run" && verb !== "runThread")
        throw new TypeError(`Expected "run" or "runThread", got ${describe(verb)}`);
      return (verb === "run" ? this.#calls : this.#threads({})).onDrain();
    });
  }

  /**
   * Runs `process` for every item and drops what it returns.
   *
   * @param items - any Iterable or AsyncIterable; pulled when a slot is free
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
  eachProcess(items: Items<Item>, options: CallOptions<Item, Result> = {}): Promise<number> {
    return this.#run(Parallel.prototype.eachProcess, options, async (site) => {
      await this.#callOrThrow(site, this.#calls, items, options, undefined);
      return 0;
    });
  }

  /**
   * As `mapProcesses`, in threads of this process (node:worker_threads).
   *
   * @remarks
   * Threads are for work that needs no isolation: each has its own heap and its own copy of the module, and
   * starts in some 50 ms. A native crash ends this process too, and processes that a thread has started outlive it. An
   * endless loop can be stopped, a blocking call into native code (`execFileSync`) cannot. The threads are a pool: they
   * start when there is work, stay for the next call and never keep the program alive. Their number is `pool` if it is
   * a number, else `concurrency`, else `processorCount()`. A thread that throws outside `process` or calls
   * `process.exit` fails the item it was running and is replaced. A thread that runs out of heap usually ends the same
   * way, but V8 may end the whole program. `preload`, `setup` and `teardown` run once in each thread.
   *
   * @param items - any Iterable or AsyncIterable; the next one is pulled when a thread is free
   * @param options - override those of the constructor
   *
   * @throws as `mapProcesses`; TypeError for `limits`, `cwd` and another `output` than `"inherit"`, which only a process can have
   *
   * @example
   * ```ts
   * import { Parallel, ParallelWorker } from "forkmap";
   *
   * export class Where extends ParallelWorker<number> {
   *   process(n: number, { kind }: { kind: string }): string {
   *     return `${n} in a ${kind} of ${process.pid}`;
   *   }
   * }
   *
   * const parallel = new Parallel(new Where(), { concurrency: 2 });
   * const [first] = await parallel.mapThreads([1, 2, 3]);
   * console.log(first === `1 in a thread of ${process.pid}`); // true
   * await parallel.close();
   * ```
   */
  mapThreads(items: Items<Item>, options: CallOptions<Item, Result> = {}): Promise<Result[]> {
    return this.#run(Parallel.prototype.mapThreads, options, async (site) => {
      const results: Result[] = [];
      const calls = site.check(() => this.#threads(options));
      await this.#callOrThrow(site, calls, items, options, results);
      return results;
    });
  }

  /**
   * As `eachProcess`, in threads of this process: see `mapThreads`.
   *
   * @param items - any Iterable or AsyncIterable; the next one is pulled when a thread is free
   * @param options - override those of the constructor
   * @returns the number of failed items: 0, as any failure rejects
   *
   * @throws as `mapThreads`
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
   * console.log(await new Parallel(new Check()).eachThread(["1", "[]"])); // 0
   * ```
   */
  eachThread(items: Items<Item>, options: CallOptions<Item, Result> = {}): Promise<number> {
    return this.#run(Parallel.prototype.eachThread, options, async (site) => {
      const calls = site.check(() => this.#threads(options));
      await this.#callOrThrow(site, calls, items, options, undefined);
      return 0;
    });
  }

  /**
   * Returns what became of every item, in the order of the items and in the form of `Promise.allSettled`. Runs all
   * items: `stopOnError` and `halt` are ignored.
   *
   * @param items - any Iterable or AsyncIterable; pulled when a slot is free
   * @param options - override those of the constructor
   *
   * @throws as `mapProcesses`, except `ItemError` and `AggregateError`: the error of an item is its `reason`
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
  mapSettled(
    items: Items<Item>,
    options: CallOptions<Item, Result> = {},
  ): Promise<PromiseSettledResult<Result>[]> {
    return this.#run(Parallel.prototype.mapSettled, options, async (site) => {
      const settled: PromiseSettledResult<Result>[] = [];
      const all = { ...options, stopOnError: false, halt: {} };
      const call = this.#start(site, this.#calls, items, all, true, {
        onResult: (index, value) => {
          settled[index] = { status: "fulfilled", value };
        },
        onError: (index, reason) => {
          settled[index] = { status: "rejected", reason };
        },
      });
      try {
        await this.#calls.run(call);
      } catch (error) {
        if (error instanceof ParallelError) attachSettled(error, settled);
        throw error;
      }
      return settled;
    });
  }

  /**
   * Yields results as they arrive, in the order of the items or (`ordered: false`) of their completion.
   *
   * @remarks
   * Lazy on both sides: nothing starts before the first result is requested, at most `backpressure` items are
   * pulled and not yet read, and leaving the loop kills the running children. Endless input therefore works.
   *
   * @param items - any Iterable or AsyncIterable
   * @param options - override those of the constructor
   *
   * @throws as `mapProcesses`, from the loop: an error is thrown once the results before it have been read; with
   * `stopOnError: false` failed items are left out, and the AggregateError is thrown at the end
   *
   * @example
   * ```ts
   * import { Parallel, ParallelWorker } from "forkmap";
   *
   * export class Square extends ParallelWorker<number> {
   *   process(n: number): string {
   *     return String(n * n);
   *   }
   * }
   *
   * function* naturals() {
   *   for (let n = 1; ; n += 1) yield n;
   * }
   *
   * for await (const square of new Parallel(new Square(), { pool: 2 }).stream(naturals())) {
   *   if (square.length > 3) {
   *     console.log(square); // 1024
   *     break;
   *   }
   * }
   * ```
   */
  stream(
    items: Items<Item>,
    options: StreamOptions<Item, Result> = {},
  ): AsyncIterableIterator<Result> {
    const site = new CallSite(Parallel.prototype.stream);
    site.check(() => {
      checkStreamOptions(options);
      this.#calls.assertOpen();
    });
    const { ordered = true, backpressure, ...own } = options;
    const errors: Error[] = [];
    const context = new CallerContext();
    const stream: ResultStream<Result> = new ResultStream(ordered, () => {
      const call = this.#start(site, this.#calls, items, own, true, {
        onResult: (index, result) => stream.push(index, result),
        onError: (index, error) => {
          errors.push(error);
          // An error that stops the call also ends the stream at its item; any other leaves a gap to skip.
          const { stopOnError, halt } = call.options;
          if (!stopOnError || halt) stream.skip(index);
        },
        mayPull: () => stream.mayPull(),
        context,
      });
      return {
        run: async () => {
          await this.#calls.run(call);
          site.check(() => throwIfAny(errors, call.pulled));
        },
        cancel: () => call.end.halt(new Error("The stream is no longer read")),
        get pulled() {
          return call.pulled;
        },
        get window() {
          return backpressure ?? call.window;
        },
        onRead: () => call.onMore(),
      };
    });
    return stream;
  }

  /**
   * Returns the results flattened by one level: `mapProcesses(...)`, then `flat()`.
   *
   * @param items - any Iterable or AsyncIterable
   * @param options - override those of the constructor
   *
   * @throws as `mapProcesses`
   *
   * @example
   * ```ts
   * import { JsonWorker, Parallel } from "forkmap";
   *
   * export class Words extends JsonWorker<string, string[]> {
   *   process(line: string): string[] {
   *     return line.split(" ");
   *   }
   * }
   *
   * console.log(await new Parallel(new Words()).flatMap(["a b", "c"])); // [ 'a', 'b', 'c' ]
   * ```
   */
  flatMap(
    items: Items<Item>,
    options: CallOptions<Item, Result> = {},
  ): Promise<(Result extends readonly (infer Member)[] ? Member : Result)[]> {
    return this.#map(
      Parallel.prototype.flatMap,
      items,
      options,
      (results) => results.flat() as (Result extends readonly (infer Member)[] ? Member : Result)[],
    );
  }

  /**
   * Returns the results that are neither `null` nor `undefined`.
   *
   * @param items - any Iterable or AsyncIterable
   * @param options - override those of the constructor
   *
   * @throws as `mapProcesses`
   *
   * @example
   * ```ts
   * import { JsonWorker, Parallel } from "forkmap";
   *
   * export class Port extends JsonWorker<string, number | null> {
   *   process(url: string): number | null {
   *     return Number(new URL(url).port) || null;
   *   }
   * }
   *
   * console.log(await new Parallel(new Port()).filterMap(["http://a:81", "http://b"])); // [ 81 ]
   * ```
   */
  filterMap(
    items: Items<Item>,
    options: CallOptions<Item, Result> = {},
  ): Promise<NonNullable<Result>[]> {
    return this.#map(Parallel.prototype.filterMap, items, options, (results) =>
      results.filter((each) => each !== null && each !== undefined),
    );
  }

  /**
   * Returns whether `process` returns something truthy for at least one item. Stops the call as soon as it does.
   *
   * @param items - any Iterable or AsyncIterable
   * @param options - override those of the constructor
   * @returns `false` for no items
   *
   * @throws as `mapProcesses`
   *
   * @example
   * ```ts
   * import { JsonWorker, Parallel } from "forkmap";
   *
   * export class IsPrime extends JsonWorker<number, boolean> {
   *   process(n: number): boolean {
   *     for (let i = 2; i * i <= n; i += 1) if (n % i === 0) return false;
   *     return n > 1;
   *   }
   * }
   *
   * const parallel = new Parallel(new IsPrime());
   * console.log(await parallel.some([4, 6, 7, 8])); // true
   * console.log(await parallel.every([4, 6, 7, 8])); // false
   * console.log(await parallel.find([4, 6, 7, 8])); // 7
   * ```
   */
  some(items: Items<Item>, options: CallOptions<Item, Result> = {}): Promise<boolean> {
    return this.#run(Parallel.prototype.some, options, (site) =>
      anyIs(this.#calls, { site, defaults: this.#defaults, items, options }, true),
    );
  }

  /**
   * Returns whether `process` returns something truthy for all items. Stops the call as soon as it does not.
   * See `some`.
   *
   * @param items - any Iterable or AsyncIterable
   * @param options - override those of the constructor
   * @returns `true` for no items
   *
   * @throws as `mapProcesses`
   */
  every(items: Items<Item>, options: CallOptions<Item, Result> = {}): Promise<boolean> {
    return this.#run(
      Parallel.prototype.every,
      options,
      async (site) =>
        !(await anyIs(this.#calls, { site, defaults: this.#defaults, items, options }, false)),
    );
  }

  /**
   * Returns the first item, in the order of the input, for which `process` returns something truthy. After a match no
   * item is pulled, and the call stops as soon as all items before the match are done; see `some`.
   *
   * @param items - any Iterable or AsyncIterable
   * @param options - override those of the constructor
   * @returns `undefined` when no item matches
   *
   * @throws as `mapProcesses`
   */
  find(items: Items<Item>, options: CallOptions<Item, Result> = {}): Promise<Item | undefined> {
    return this.#run(Parallel.prototype.find, options, async (site) => {
      const found = await findFirst(this.#calls, {
        site,
        defaults: this.#defaults,
        items,
        options,
      });
      return found as Item | undefined;
    });
  }

  /**
   * The most children alive at once when each item has its own child; with a pool, its number of slots. Setting it also
   * affects running calls: when it shrinks, surplus children end once they have finished their items.
   *
   * @throws TypeError for anything but a whole number from 1 to 1024
   *
   * @example
   * ```ts
   * import { Parallel, ParallelWorker } from "forkmap";
   *
   * export class Num extends ParallelWorker<number> {
   *   process(_: number, { num }: { num: number }): string {
   *     return String(num);
   *   }
   * }
   *
   * const parallel = new Parallel(new Num(), { concurrency: 4 });
   * parallel.concurrency = 1;
   * console.log(await parallel.mapProcesses([1, 2, 3])); // [ '0', '0', '0' ]
   * ```
   */
  get concurrency(): number | undefined {
    return this.#calls.concurrency;
  }

  set concurrency(count: number) {
    this.#calls.concurrency = checkConcurrency(count);
    if (this.#threadCalls) this.#threadCalls.concurrency = count;
  }

  /**
   * Starts now what the first item would start: the fork server, which loads the worker and runs `preload`.
   *
   * @throws WorkerModuleError, LaunchError, ClosedError as `mapProcesses` would
   */
  ready(): Promise<void> {
    return this.#run(Parallel.prototype.ready, {}, () => this.#calls.ready());
  }

  /** Takes no more calls, awaits running ones, ends the fork server and the threads. Calling it again is harmless. */
  async close(): Promise<void> {
    await Promise.all([this.#calls.close(), this.#threadCalls?.close()]);
  }

  /**
   * Kills all children and ends the fork server; running calls reject with `reason`. Calling it again is harmless.
   *
   * @param reason - what the calls reject with; a `ClosedError` unless given
   */
  async destroy(reason: unknown = new ClosedError("This Parallel was destroyed")): Promise<void> {
    await Promise.all([this.#calls.destroy(reason), this.#threadCalls?.destroy(reason)]);
  }

  /** The same as `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Returns what this `Parallel` is doing right now. */
  stats(): ParallelStats {
    const own = this.#calls.stats();
    const threads = this.#threadCalls?.stats();
    if (!threads) return own;
    const succeeded = own.items.succeeded + threads.items.succeeded;
    const failed = own.items.failed + threads.items.failed;
    const { slots, runTime, waitTime, queue } = threads;
    return {
      ...own,
      calls: own.calls + threads.calls,
      items: { succeeded, failed },
      threads: { slots, runTime, waitTime, queue },
    };
  }

  get #hasFixedPool(): boolean {
    return typeof this.#options.pool === "number" && this.#options.pool > 0;
  }

  get #threadCount(): number {
    const { pool, concurrency } = this.#options;
    const hasOther = pool === true || pool === 0;
    return (hasOther ? concurrency : this.#calls.concurrency) ?? processorCount();
  }

  #threads(options: CallOptions<Item, Result>): Calls {
    if (this.#isCommand) {
      throw new TypeError("A program cannot run in a thread: use run, mapProcesses or eachProcess");
    }
    checkThreadOptions(this.#options as ParallelOptions, options as CallOptions);
    this.#calls.assertOpen();
    const calls = (this.#threadCalls ??= this.#makeThreadCalls());
    const { concurrency = 0 } = options;
    if (!this.#hasFixedPool && concurrency > calls.concurrency!) calls.concurrency = concurrency;
    return calls;
  }

  /**
   * Without a `CallSite`, which would be a good part of what an item costs, and not async: what an async function that waits
   * keeps in memory is more than half of what such a call needs.
   */
  #runItem(verb: Function, item: Item, options: RunOptions): Promise<Result> {
    try {
      const { signal, output, tag } = this.#defaults;
      this.#checkRun(options);
      const isTagged = output === "tag" && tag !== undefined;
      // Children keep what `Calls` holds alive, and a closure may refer to this Parallel.
      const own = signal || isTagged ? withDefaults(options, signal, tag) : options;
      const isThread = verb === Parallel.prototype.runThread;
      const running = (isThread ? this.#threads({}) : this.#calls).runItem(item, own);
      return running.then(undefined, claimAwaited) as Promise<Result>;
    } catch (error) {
      return Promise.reject(claimLate(error, verb));
    }
  }

  #checkRun(options: RunOptions): void {
    try {
      if (options !== NO_OPTIONS) checkRunOptions(options);
      checkRunDefaults(this.#defaults as ParallelOptions);
    } catch (error) {
      throw own(error as Error);
    }
  }

  /** Runs a call: errors in its options, and the error it rejects with, carry the stack of its caller. */
  async #run<T>(
    verb: Function,
    options: CallOptions<Item, Result>,
    run: (site: CallSite) => Promise<T>,
  ): Promise<T> {
    const site = new CallSite(verb);
    try {
      site.check(() => checkCallOptions(options));
      return await run(site);
    } catch (error) {
      throw site.end(error, this.#run);
    }
  }

  #map<T>(
    verb: Function,
    items: Items<Item>,
    options: CallOptions<Item, Result>,
    make: (results: Result[]) => T,
  ): Promise<T> {
    return this.#run(verb, options, async (site) => {
      const results: Result[] = [];
      await this.#callOrThrow(site, this.#calls, items, options, results);
      return make(results);
    });
  }

  /** @param results - receives the results; `undefined` when the call drops them */
  async #callOrThrow(
    site: CallSite,
    calls: Calls,
    items: Items<Item>,
    options: CallOptions<Item, Result>,
    results: Result[] | undefined,
  ): Promise<void> {
    const errors: Error[] = [];
    const handlers: Handlers<Result> = {
      onResult: (index, result) => {
        if (results) place(results, index, result);
      },
      onError: (index, error) => {
        errors[index] = error;
      },
    };
    try {
      if (results && calls.mayRunSingly && this.#isSingle(items, options)) {
        const item = (items as readonly Item[])[0];
        const { signal } = this.#defaults;
        results[0] = (await calls.runItem(item, withDefaults(options, signal), 0)) as Result;
        return;
      }
      const call = this.#start(site, calls, items, options, results !== undefined, handlers);
      await calls.run(call);
      throwIfAny(errors, call.pulled);
    } catch (error) {
      if (error instanceof ParallelError || error instanceof AggregateError) {
        attachRest(error, Object.values(errors), results ?? []);
      }
      throw error;
    }
  }

  /** Whether the call has one item and no option that concerns more than that item. */
  #isSingle(items: Items<Item>, options: CallOptions<Item, Result>): boolean {
    if (!Array.isArray(items) || items.length !== 1) return false;
    const { stopOnError, halt, tag } = this.#defaults;
    if (stopOnError === false || halt || tag || OF_MANY_ITEMS.some((name) => this.#defaults[name]))
      return false;
    for (const name in options) if (!(name in RUN_RULES)) return false;
    return true;
  }

  #start(
    site: CallSite,
    calls: Calls,
    items: Items<Item>,
    options: CallOptions<Item, Result>,
    wantsResults: boolean,
    handlers: Handlers<Result>,
  ): Scheduler {
    site.check(() => {
      if (this.#isCommand) checkCommandOptions(options as ParallelOptions);
      checkEngineOptions(this.#defaults as ParallelOptions, options as ParallelOptions);
    });
    return calls.start({
      site,
      defaults: this.#defaults,
      items,
      options,
      wantsResults,
      ...(handlers as Handlers<unknown>),
    });
  }
}

/** Ends the processes of a `Parallel` that was garbage collected: nothing that children keep alive refers to it. */
const dropped = new FinalizationRegistry((calls: Calls) => {
  calls.close().catch(() => {});
});

function withDefaults(
  options: RunOptions,
  signal: AbortSignal | undefined,
  tag?: ResolvedOptions["tag"],
): RunItemOptions {
  const either = options.signal ?? signal;
  return { ...options, ...(either ? { signal: either } : {}), ...(tag ? { tag } : {}) };
}

interface Handlers<Result> {
  onResult(index: number, result: Result): void;
  onError(index: number, error: Error): void;
  mayPull?: () => number;
  context?: CallerContext;
}

/** Batches arrive in any order. Fills a gap before `index`: with a large gap, V8 would make the array a hash table. */
function place<Result>(results: Result[], index: number, result: Result): void {
  while (results.length < index) results.push(undefined as Result);
  results[index] = result;
}

function attachSettled<Result>(
  error: Error,
  settled: readonly PromiseSettledResult<Result>[],
): void {
  const errors: Error[] = [];
  const results: Result[] = [];
  for (const [index, each] of settled.entries()) {
    if (each?.status === "fulfilled") place(results, index, each.value);
    else if (each) errors.push(each.reason as Error);
  }
  attachRest(error, errors, results);
}

/** Sets `errors` and `results`. Not enumerable: Node would print all results with an uncaught error. */
function attachRest(error: Error, errors: readonly Error[], results: readonly unknown[]): void {
  const rest = { errors: errors.filter((each) => each !== error), results };
  // An error that ended the call before any item was done has nothing to attach.
  const isOfItems = error instanceof ItemError || error instanceof AggregateError;
  if (!isOfItems && rest.errors.length === 0 && results.length === 0) return;
  for (const [name, value] of Object.entries(rest)) {
    if (!Object.hasOwn(error, name))
      Object.defineProperty(error, name, { value, configurable: true });
  }
}
