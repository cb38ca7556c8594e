/** The options of `Parallel` and of its calls: types and defaults. Rules for their values are in check-options.ts. */
import type { Usage } from "./errors.js";
import type { StartMethod } from "./worker/worker.js";

/** A pause that grows with each attempt: `min * factor ** (attempt - 1)`, at most `max`, times a random 0.5 to 1. */
export interface RetryDelay {
  /** Before the first retry, in ms. @defaultValue 1000 */
  readonly min?: number;
  /** Longest pause, in ms. @defaultValue 30000 */
  readonly max?: number;
  /** @defaultValue 2 */
  readonly factor?: number;
}

/** What `onFinish` receives about the child that ran the item. */
export interface FinishInfo {
  readonly num: number;
  readonly pid: number;
  readonly attempt: number;
  /** Time from the start of the attempt to its end, in ms. */
  readonly duration: number;
  /** Resources the child used; only if it ran this item alone and the system reports them. */
  readonly usage: Usage | undefined;
  /** What the item printed on stdout, with `output: "collect"`: the last MiB, after a line that counts what was cut. */
  readonly stdout?: string | undefined;
  /** The same of stderr. */
  readonly stderr?: string | undefined;
}

/** Limits the kernel enforces on one child. */
export interface Limits {
  /** Bytes of private memory the child may allocate on top of what it starts with. */
  readonly memory?: number;
  /** Seconds of CPU time, a whole number. */
  readonly cpuSeconds?: number;
  /** Open file descriptors. */
  readonly openFiles?: number;
}

/** How many failed items stop the call: no new item starts then. */
export interface Halt {
  /** Number of failed items. */
  readonly failures?: number;
  /** Failed items as a part of all finished ones, above 0 up to 1; checked once ten have finished. */
  readonly ratio?: number;
}

/** Where items run, if not in children of this program: what `bullmq` of forkmap/bullmq returns. */
export interface Engine {
  readonly name: string;
}

/** Options of one call, as second argument of all verbs; given to `new Parallel` they are the defaults of its calls. */
export interface CallOptions<Item = unknown, Result = unknown> {
  /** Children that run items at the same time, at most 1024. @defaultValue 32 forked, `processorCount()` spawned or threads, all of a pool */
  readonly concurrency?: number;
  /** Items in flight at once in a pooled child, at most 1024: for work that waits more than it computes. @defaultValue 1 */
  readonly fibers?: number;
  /** Items sent to a pooled child at once, at most 2048. `"auto"` sends a few ms of work. @defaultValue "auto" */
  readonly batch?: "auto" | number;
  /** Time for one attempt at one item, in ms; then the child and all processes it has started are killed, and the item fails. @defaultValue none; 600000 with a `CommandWorker` */
  readonly timeout?: number;
  /** Limits the kernel enforces on each child process; a pool takes them from `new Parallel` only. Threads cannot have limits: `mapThreads` refuses them. @defaultValue none */
  readonly limits?: Limits;
  /** How often an item is tried again after its `process` threw, its child died or it timed out. @defaultValue 0 */
  readonly retries?: number;
  readonly retryDelay?: RetryDelay;
  /**
   * `true`: after an error no new item starts, those in flight finish, then the first error in time is thrown.
   * `false`: all items run, then an `AggregateError` holds every error. @defaultValue true
   */
  readonly stopOnError?: boolean;
  /** Replaces `stopOnError`: how many failed items stop the call. */
  readonly halt?: Halt;
  /** Ends the call: children are killed, and the call rejects with the signal's reason once they are gone. */
  readonly signal?: AbortSignal;
  /** The first signal sent to a child that is killed. @defaultValue "SIGTERM" */
  readonly killSignal?: NodeJS.Signals;
  /** Time a child has to end after `killSignal` before it gets SIGKILL, in ms. @defaultValue 5000 */
  readonly forceKillAfterDelay?: number;
  /** Called before an item starts (once, however often the item is retried). Hooks run in this process, one at a time, and are awaited; a hook that throws stops the call. */
  readonly onStart?: (item: Item, index: number) => unknown;
  /** Called after an item has succeeded; not for items that an earlier run recorded in `journal`. */
  readonly onFinish?: (item: Item, index: number, result: Result, info: FinishInfo) => unknown;
  /** Calls `onFinish` in the order of the items. @defaultValue false */
  readonly finishInOrder?: boolean;
  /** Directory in which the scratch directory of a call is created. @defaultValue os.tmpdir() */
  readonly scratchRoot?: string;
  /** Bytes of memory that must be free before a child is started. @defaultValue none */
  readonly minFreeMemory?: number;
  /**
   * Runs equal items (the same bytes, or the same value in any order of keys) once; all of them get the same result, or the same error.
   * `onStart` is called for the first of them, `onFinish` for each. @defaultValue false
   */
  readonly dedupe?: boolean;
  /**
   * A directory that outlives the call and records finished items: when the same call runs again, it skips them and
   * calls no hooks for them. Failures are not recorded. Another worker cannot use the directory, nor another version of
   * the same worker; the version is its `static version`, or else the text of its class and its own fields.
   */
  readonly journal?: string;
  /** Shows progress on stderr: a bar on a terminal, else a line every few seconds. A string is its title. @defaultValue false */
  readonly progress?: boolean | string;
  /** File for a trace of the call in Chrome's format, for ui.perfetto.dev: one row for each num. */
  readonly trace?: string;
  /**
   * With `engine`: names the run, so that it can be continued. If this program is killed and makes the same call over the same items
   * again, it collects what was done, and waits for what is under way. @defaultValue a run that ends with this program
   */
  readonly run?: string;
  /** With `output: "tag"`: returns the prefix of each line. @defaultValue the item's index */
  readonly tag?: (item: Item, index: number) => string;
}

/** Options of one `run` or `runThread`. */
export interface RunOptions {
  /** Time for one attempt, in ms, from when `process` begins; then the child is killed, and the item fails. To limit the time in the queue as well, pass `signal: AbortSignal.timeout(ms)`. @defaultValue that of `new Parallel` */
  readonly timeout?: number;
  /** How often the item is tried again. @defaultValue that of `new Parallel` */
  readonly retries?: number;
  /**
   * Ends this item alone: it leaves the queue, or its child is killed. With `fibers`, a child that runs other items is not
   * killed: the item runs to its end there, and its result is dropped. @defaultValue that of `new Parallel`
   */
  readonly signal?: AbortSignal;
}

/** Options of `stream`. */
export interface StreamOptions<Item = unknown, Result = unknown> extends CallOptions<Item, Result> {
  /** `false`: results come as they finish, not in the order of the items. @defaultValue true */
  readonly ordered?: boolean;
  /** The most items pulled whose results have not been read yet. @defaultValue three batches for each slot */
  readonly backpressure?: number;
}

/** Where the output of children goes; see `ParallelOptions.output`. */
export type OutputMode = "inherit" | "tag" | "collect";

/** How values travel between processes; see `ParallelOptions.serialization`. */
export type Serialization = "json" | "advanced";

/** How items travel; `protocol`: as a program of a `CommandWorker` receives them. */
export type ItemFormat = Serialization | "protocol";

/** Options of `new Parallel`. */
export interface ParallelOptions<Item = unknown, Result = unknown> extends CallOptions<
  Item,
  Result
> {
  /**
   * Keeps children for many items: this many slots, each with a warm child, shared by all calls (`true`: one for each
   * processor). `0` runs all items in this process, one after the other. @defaultValue a child for each item; with a `CommandWorker` its `concurrency`, else `true`
   */
  readonly pool?: number | boolean;
  /**
   * With `pool`: worker threads in each child process, each a slot of its own with its own items and its own copy of
   * the worker's module. A thread that dies fails its item; its process is only killed if nothing else ends the thread.
   * @defaultValue none
   */
  readonly threads?: number;
  /**
   * With `pool`: the directory of a supervisor that knows the children, see docs/supervisor.md. One that it finds unhealthy is replaced between two items.
   * Not with `threads`, nor for a `CommandWorker`.
   * @defaultValue none
   */
  readonly supervised?: string;
  /** Where items run. Options of children are then those of each machine's `QueueWorker`. @defaultValue children of this program */
  readonly engine?: Engine;
  /** Replaces a child after this many items; its slot keeps its number. @defaultValue 1 without `pool`, unlimited with */
  readonly maxItemsPerChild?: number;
  /** Replaces a child that holds more bytes of memory than this, between two items. For a thread, only its own heap and buffers count. @defaultValue none */
  readonly maxRss?: number;
  /**
   * Where the output of children goes. `"inherit"`: to stdout and stderr of this program, as it arrives; `"tag"`: the
   * same in whole lines, each prefixed with the index of its item; `"collect"`: to `onFinish` and to errors. Threads
   * print to the streams of their process: they support `"inherit"` only.
   * @defaultValue "inherit"
   */
  readonly output?: OutputMode;
  /**
   * How items and results travel, as for `child_process.fork`. `"json"`: as JSON, except a text and a `Uint8Array`, which
   * arrive as they are. `"advanced"`: by structured clone, which keeps Map, Set, Date, RegExp, BigInt, typed arrays, errors,
   * cycles, `undefined`, NaN and -0 as well.
   * @defaultValue "json"
   */
  readonly serialization?: Serialization;
  /** How children are started. @defaultValue "fork" where possible, else "spawn" */
  readonly startMethod?: StartMethod;
  /** The module that defines the worker's class: a URL or a path. @defaultValue detected */
  readonly module?: string | URL;
  /** Node options of the children. Of V8's options, a thread accepts `--max-old-space-size` only. @defaultValue process.execArgv */
  readonly execArgv?: readonly string[];
  /** Environment of the children. @defaultValue process.env */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Working directory of child processes; a thread has that of its process. @defaultValue process.cwd() */
  readonly cwd?: string;
  /** Time for the worker to load and to run `preload`, in ms. @defaultValue 30000 */
  readonly startupTimeout?: number;
  /**
   * How long `close()` waits for children that have nothing left to do, in ms: for `teardown` and for "exit" listeners.
   * Then it kills them, and a process warning (`FORKMAP_CLOSE`) says what it waited for. `close()` waits for running
   * calls as long as they take. @defaultValue 30000
   */
  readonly closeTimeout?: number;
  /**
   * How many items of `run`, and as many of `runThread`, may wait; a further call rejects with a QueueFullError at once.
   * An item waits until it is begun. At least 1. @defaultValue no limit
   */
  readonly maxQueue?: number;
}

/** The verbs that run a single item. */
export type RunVerb = "run" | "runThread";

/** Call options with every default filled in; options without a default stay optional. */
export type ResolvedOptions = Required<
  Pick<
    CallOptions,
    | "batch"
    | "dedupe"
    | "fibers"
    | "finishInOrder"
    | "forceKillAfterDelay"
    | "killSignal"
    | "progress"
    | "retries"
    | "stopOnError"
  >
> & {
  readonly retryDelay: Required<RetryDelay>;
  readonly serialization: ItemFormat;
  readonly onStart?: (item: never, index: number) => unknown;
  readonly onFinish?: (item: never, index: number, result: never, info: FinishInfo) => unknown;
  readonly tag?: (item: never, index: number) => string;
} & Pick<
    CallOptions,
    | "concurrency"
    | "halt"
    | "journal"
    | "limits"
    | "minFreeMemory"
    | "run"
    | "scratchRoot"
    | "signal"
    | "timeout"
    | "trace"
  >;

export const DEFAULT_STARTUP_TIMEOUT_MS = 30_000;
export const DEFAULT_CLOSE_TIMEOUT_MS = 30_000;
export const DEFAULT_FORCE_KILL_AFTER_MS = 5000;

/** Merges the options of a call over those of its `Parallel` over the defaults. */
export function resolveOptions(base: CallOptions, own: CallOptions): ResolvedOptions {
  const given = { ...base, ...withoutUndefined(own) };
  return {
    ...DEFAULTS,
    ...withoutUndefined(given),
    retryDelay: { ...DEFAULT_RETRY_DELAY, ...withoutUndefined(given.retryDelay ?? {}) },
  };
}

/** @internal The options of a `Parallel` over a `CommandWorker`: defaults to a pool of programs and to a `timeout`. */
export function withCommandDefaults<T extends ParallelOptions<never, never>>(options: T): T {
  return {
    pool: options.concurrency ?? true,
    timeout: COMMAND_TIMEOUT_MS,
    ...withoutUndefined(options),
    serialization: "protocol" satisfies ItemFormat,
  };
}

const COMMAND_TIMEOUT_MS = 600_000;

const DEFAULTS = {
  retries: 0,
  stopOnError: true,
  killSignal: "SIGTERM",
  forceKillAfterDelay: DEFAULT_FORCE_KILL_AFTER_MS,
  finishInOrder: false,
  fibers: 1,
  batch: "auto",
  dedupe: false,
  progress: false,
  serialization: "json",
} as const;
export const DEFAULT_RETRY_DELAY = { min: 1000, max: 30_000, factor: 2 };

/** @internal */
export function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as T;
}
