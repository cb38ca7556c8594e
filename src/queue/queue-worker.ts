/**
 * The folder holds maps over many machines: how items and results travel through queues, and the machines that serve workers; what is of BullMQ
 * and Redis is in bullmq/. Here: class QueueWorker, a machine that serves workers. Jobs come from queues, and their items run in children of this process, which itself
 * runs none of the workers' code and so always has time for the queue.
 *
 *   queues ─▶ Serving ─ jobs ─▶ JobRunner ─ items, within middleware ─▶ ServedWorker ─▶ Calls ─▶ children
 *               ▲                                                            │
 *               └──────────────── results, errors, jobs given back ──────────┘
 */
import { holdingLoop } from "../launch/loop-hold.js";
import { describe } from "../system/describe.js";
import { isRerun, offerWorker, stopHere } from "../worker/capture.js";
import { checkWorker } from "../worker/check-worker.js";
import { definitionOf, FunctionWorker, type WorkerFunction } from "../worker/function-worker.js";
import { countDefinition } from "../worker/locate-worker.js";
import { workerNameOf } from "../worker/worker-name.js";
import type { AnyWorker } from "../worker/worker.js";
import { Counts, type ItemCounts, type JobCounts } from "./job-counts.js";
import { type Log, logTo } from "./logger.js";
import { type ResolvedQueueWorkerOptions, resolveQueueWorkerOptions } from "./resolve-options.js";
import { ServeSession, type SessionState } from "./serve-session.js";
import { ServedWorker } from "./served-worker.js";
import { StopSignals } from "./stop-signals.js";
import type { QueueWorkerOptions } from "./worker-options.js";

/** A worker, or a function, with a `workerName`. */
export type NamedWorker = AnyWorker<never, unknown> | WorkerFunction<never, unknown>;

/** What `stats` of a `QueueWorker` returns. */
export interface QueueWorkerStats {
  /** `idle`: `run` is not under way. */
  readonly state: "idle" | SessionState;
  /** Whether the server can be reached now. */
  readonly isConnected: boolean;
  /** Names of the queues whose jobs are taken. */
  readonly queues: readonly string[];
  /** Names of the workers. */
  readonly workers: readonly string[];
  /** How many items run at once. */
  readonly slots: number;
  /** Jobs taken and not yet acknowledged, those that wait here included. */
  readonly held: number;
  /** Since this object was made, as `items`. */
  readonly jobs: JobCounts;
  readonly items: ItemCounts;
  /** Processes of this machine that are alive: the fork servers, or spawned children or programs and their reapers. */
  readonly pids: readonly number[];
}

/**
 * Serves workers: takes jobs from queues and runs them in child processes of this machine, until it is stopped.
 *
 * @remarks
 * Jobs come from calls of `Parallel` with `engine: bullmq(...)`, and from any other code that adds some with BullMQ: the job's name is that of its
 * worker, its data are the item, and the result is its return value. A job that fails is tried again as its `attempts` say.
 *
 * @example
 * ```ts no-run
 * import { JsonWorker } from "forkmap";
 * import { QueueWorker } from "forkmap/bullmq";
 *
 * export class Resize extends JsonWorker<{ width: number }, { pixels: number }> {
 *   static workerName = "resize@1";
 *
 *   process({ width }: { width: number }): { pixels: number } {
 *     return { pixels: width * width };
 *   }
 * }
 *
 * const worker = new QueueWorker([new Resize()], { connection: "redis://127.0.0.1:6379", processes: 2 });
 * await worker.run(); // until INT or TERM
 * ```
 */
export class QueueWorker {
  readonly #workers: readonly AnyWorker<never, unknown>[];
  /** Of what was given: objects and functions. */
  readonly #names = new Map<object, string>();
  readonly #options: ResolvedQueueWorkerOptions;
  readonly #log: Log;
  readonly #counts = new Counts();
  #session: ServeSession | undefined;
  #start = new Start();

  /**
   * @param workers - instances whose class has `static workerName`, or functions with a property `workerName`
   * @param options - see there for what sets those that are missing
   *
   * @throws TypeError for a worker without a name, for two with the same, for an unknown option or a wrong value, naming it
   */
  constructor(workers: readonly NamedWorker[], options: QueueWorkerOptions = {}) {
    this.#options = resolveQueueWorkerOptions(options);
    this.#log = logTo(this.#options.given.logger);
    if (!Array.isArray(workers) || workers.length === 0) {
      const got = Array.isArray(workers) ? "an empty array" : describe(workers);
      throw new TypeError(`Expected an array of workers, such as [new Resize()], got ${got}`);
    }
    this.#workers = workers.map((given: NamedWorker) => this.#add(given));
    for (const worker of this.#workers) {
      // Checks options that some workers cannot have.
      void new ServedWorker(worker, this.#options);
      offerWorker(worker);
      countDefinition(definitionOf(worker));
    }
  }

  #add(given: NamedWorker): AnyWorker<never, unknown> {
    checkWorker(given, "QueueWorker");
    const worker = typeof given === "function" ? new FunctionWorker(given) : given;
    const name = workerNameOf(worker);
    if ([...this.#names.values()].includes(name)) {
      throw new TypeError(
        `Expected workers with different names, got two that are called "${name}"`,
      );
    }
    this.#names.set(given, name);
    this.#names.set(worker, name);
    return worker;
  }

  /**
   * Serves until `stop`, `kill`, INT or TERM; may be called again after that.
   *
   * @remarks
   * It takes no job before all workers have loaded. When the server cannot be reached later on, it is tried again for ever, with the pauses of
   * `retry`. The first INT or TERM is `stop`, and after `stopTimeout` `kill`; the second is `kill`, and ends the program with exit code 1.
   *
   * @throws EngineError within two seconds when the server cannot be used
   * @throws WorkerModuleError, LaunchError when this machine cannot run a worker; its jobs are given back
   * @throws Error when it runs already
   */
  async run(): Promise<void> {
    if (isRerun()) return await stopHere();
    if (this.#session) throw new Error("This QueueWorker runs already: await run() before another");
    const session = new ServeSession({
      options: this.#options,
      workers: this.#workers,
      counts: this.#counts,
      log: this.#log,
      nameOf: (worker) => this.#names.get(worker),
      onReady: () => this.#start.succeed(),
    });
    this.#session = session;
    const { signals, stopTimeout } = this.#options;
    const stopSignals = signals ? new StopSignals(session, stopTimeout, this.#log) : undefined;
    let failure: unknown = new Error("This QueueWorker was stopped before it was ready");
    try {
      await holdingLoop(() => session.run());
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      this.#session = undefined;
      this.#start.fail(failure);
      this.#start = new Start();
      stopSignals?.close();
    }
  }

  /** Resolves once `run` takes jobs; if it is not under way, the next one. @throws as `run`, or Error if it is stopped before */
  async ready(): Promise<void> {
    if (isRerun()) return await stopHere();
    await this.#start.promise;
  }

  /** Takes no more jobs. `run` returns once those that were taken are run and acknowledged. Calling it again is harmless. */
  stop(): void {
    this.#session?.stop();
  }

  /** Kills the children and gives all jobs back at once; `run` returns then. After `stop`, too. Calling it again is harmless. */
  kill(): void {
    this.#session?.kill();
  }

  /** Returns what this queue worker is doing right now. */
  stats(): QueueWorkerStats {
    const session = this.#session;
    const workers = this.#workers.map((worker) => this.#names.get(worker)!);
    const { queues, slots } = this.#options;
    return {
      state: session?.state ?? "idle",
      isConnected: session?.isConnected ?? false,
      queues: queues.length > 0 ? queues : workers,
      workers,
      slots,
      held: session?.held ?? 0,
      jobs: { ...this.#counts.jobs },
      items: { ...this.#counts.items },
      pids: session?.pids ?? [],
    };
  }
}

/** The start of a run, for those who await it. */
class Start {
  readonly promise: Promise<void>;
  succeed!: () => void;
  fail!: (reason: unknown) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.succeed = resolve;
      this.fail = reject;
    });
    // Whether anybody awaits it or not.
    this.promise.catch(() => {});
  }
}
