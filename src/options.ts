/** The options of `Parallel` and of its calls: types, defaults and validation, all in one place. */
import { constants } from "node:os";
import { MAX_BATCH } from "./container/pace.js";
import { describe } from "./describe.js";
import type { Usage } from "./errors.js";
import { type Limits, MAX_CONCURRENCY } from "./protocol.js";
import type { StartMethod } from "./worker.js";

/** A pause that grows with each attempt: `min * factor ** (attempt - 1)`, at most `max`, times a random 0.5 to 1. */
export interface RetryDelay {
  /** Before the first retry, in ms. @defaultValue 1000 */
  readonly min?: number;
  /** Longest pause, in ms. @defaultValue 30000 */
  readonly max?: number;
  /** @defaultValue 2 */
  readonly factor?: number;
}

/** What `onFinish` is told of the child that did the item. */
export interface FinishInfo {
  readonly num: number;
  readonly pid: number;
  readonly attempt: number;
  /** Time from the start of the attempt to its end, in ms. */
  readonly duration: number;
  /** What the child cost, where it had this item only and the system could tell. */
  readonly usage: Usage | undefined;
  /** What the item printed on stdout, with `output: "collect"`: the last MiB of it, with a line before it that says how much was cut. */
  readonly stdout?: string | undefined;
  /** The same of stderr. */
  readonly stderr?: string | undefined;
}

/** When so many items have failed, no new one starts. */
export interface Halt {
  /** This many. */
  readonly failures?: number;
  /** This part of the items that are done, 0 to 1, once ten are. */
  readonly ratio?: number;
}

/** Options of one call, as second argument of all verbs; given to `new Parallel` they are the defaults of its calls. */
export interface CallOptions<Item = unknown, Result = unknown> {
  /** Children at work at once, at most 1024. @defaultValue 32 forked, `processorCount()` spawned or threads, all of a pool */
  readonly concurrency?: number;
  /** Items in flight at once in a pooled child, at most 1024: for work that mostly waits. @defaultValue 1 */
  readonly fibers?: number;
  /** Items that go to a pooled child at once, at most 2048. `"auto"` makes it a few ms of work. @defaultValue "auto" */
  readonly batch?: "auto" | number;
  /** Time for one attempt at one item, in ms; after it the child is killed, with all it has started, and the item fails. @defaultValue none */
  readonly timeout?: number;
  /** Limits the kernel enforces on each child process; those of a pool are the ones of `new Parallel`. A thread cannot have any: `mapThreads` refuses them. @defaultValue none */
  readonly limits?: Limits;
  /** How often an item whose `process` threw, whose child died or which timed out is tried again. @defaultValue 0 */
  readonly retries?: number;
  readonly retryDelay?: RetryDelay;
  /**
   * `true`: after an error no new item starts, those in flight finish, then the first error in time is thrown.
   * `false`: all items run, then an `AggregateError` holds every error. @defaultValue true
   */
  readonly stopOnError?: boolean;
  /** In place of `stopOnError`: how many errors are too many. */
  readonly halt?: Halt;
  /** Ends the call: children are killed, and it rejects with the signal's reason once they are gone. */
  readonly signal?: AbortSignal;
  /** What a child is killed with first. @defaultValue "SIGTERM" */
  readonly killSignal?: NodeJS.Signals;
  /** Time a child has to end after `killSignal` before it gets SIGKILL, in ms. @defaultValue 5000 */
  readonly forceKillAfterDelay?: number;
  /** Called before an item starts (once, however often it is retried). Hooks run in this process, one at a time, and are awaited; one that throws stops the call. */
  readonly onStart?: (item: Item, index: number) => unknown;
  /** Called after an item has succeeded; not for items that an earlier run has recorded in `journal`. */
  readonly onFinish?: (item: Item, index: number, result: Result, info: FinishInfo) => unknown;
  /** Calls `onFinish` in the order of the items. @defaultValue false */
  readonly finishInOrder?: boolean;
  /** Where the scratch directory of a call is made. @defaultValue os.tmpdir() */
  readonly scratchRoot?: string;
  /** Bytes of memory that have to be free for a child to be started. @defaultValue none */
  readonly minFreeMemory?: number;
  /**
   * Runs equal items (by their JSON, whatever the order of its keys) once; all of them get that result, or that error.
   * `onStart` is called for the first of them, `onFinish` for each. @defaultValue false
   */
  readonly dedupe?: boolean;
  /**
   * A directory that outlives the call, in which finished items are recorded: the same call skips them when it is run
   * again, and calls no hooks for them. Failures are not recorded. It is refused to another worker, or another version of
   * it: that is its `static version`, or else the text of its class and its own fields.
   */
  readonly journal?: string;
  /** Shows on stderr how far it is: a bar on a terminal, else a line every few seconds. A string is its title. @defaultValue false */
  readonly progress?: boolean | string;
  /** A file that gets a trace of the call in Chrome's format, for ui.perfetto.dev: one row for each num. */
  readonly trace?: string;
  /** With `output: "tag"`: what stands before each line. @defaultValue the item's index */
  readonly tag?: (item: Item, index: number) => string;
}

/** Options of `stream`. */
export interface StreamOptions<Item = unknown, Result = unknown> extends CallOptions<Item, Result> {
  /** `false`: results come as they are done, not in the order of the items. @defaultValue true */
  readonly ordered?: boolean;
  /** Items that may be pulled and not yet read, at most. @defaultValue two batches for each slot */
  readonly backpressure?: number;
}

/** What becomes of what children print. */
export type OutputMode = "inherit" | "tag" | "collect";

/** Options of `new Parallel`. */
export interface ParallelOptions<Item = unknown, Result = unknown> extends CallOptions<
  Item,
  Result
> {
  /**
   * Keeps children for many items: so many slots, each with a warm child, shared by all calls (`true`: one for each
   * processor). `0` runs all items in this process, one after the other. @defaultValue a child for each item
   */
  readonly pool?: number | boolean;
  /**
   * With `pool`: worker threads in each child process, each a slot of its own with its own items and its own copy of the
   * worker's module. One that dies costs its item; its process lives on, unless nothing else ends the thread.
   * @defaultValue none
   */
  readonly threads?: number;
  /** Replaces a child after so many items; its slot keeps its number. @defaultValue 1 without `pool`, unlimited with */
  readonly maxItemsPerChild?: number;
  /** Replaces a child that holds more bytes of memory than this, between two items. Of a thread its own heap and buffers count. @defaultValue none */
  readonly maxRss?: number;
  /**
   * What becomes of what children print. `"inherit"`: it goes to stdout and stderr of this program as it comes; `"tag"`: in
   * whole lines, each with the index of its item before it; `"collect"`: it is given to `onFinish` and to errors.
   * @defaultValue "inherit"
   */
  readonly output?: OutputMode;
  /** How children come to be. @defaultValue "fork" where it can be, else "spawn" */
  readonly startMethod?: StartMethod;
  /** The module that defines the worker's class: a URL or a path. @defaultValue found by itself */
  readonly module?: string | URL;
  /** Options of Node for the children. Of V8's own, a thread can have `--max-old-space-size` only. @defaultValue process.execArgv */
  readonly execArgv?: readonly string[];
  /** Environment of the children. @defaultValue process.env */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Working directory of child processes; a thread has that of its process. @defaultValue process.cwd() */
  readonly cwd?: string;
  /** Time for a worker to load and to `preload`, in ms. @defaultValue 30000 */
  readonly startupTimeout?: number;
}

/** Call options with every default filled in, but for those that have none. */
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
    | "scratchRoot"
    | "signal"
    | "timeout"
    | "trace"
  >;

/** What a Node timer can hold (2 ** 31 - 1); a longer one would fire at once. */
const MAX_DELAY_MS = 2_147_483_647;
export const DEFAULT_STARTUP_TIMEOUT_MS = 30_000;
const MAX_FIBERS = 1024;

interface Rule {
  readonly expected: string;
  accepts(value: unknown): boolean;
}

const wholeNumber = (min: number, max: number, unit = ""): Rule => ({
  expected: `a whole number from ${min} to ${max}${unit}`,
  accepts: (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
});
const milliseconds = (min: number): Rule => ({
  expected: `a number of ms from ${min} to ${MAX_DELAY_MS}`,
  accepts: (value) => typeof value === "number" && value >= min && value <= MAX_DELAY_MS,
});
const typed = (type: string, expected = `a ${type}`): Rule => ({
  expected,
  accepts: (value) => typeof value === type,
});
const oneOf = (...choices: readonly string[]): Rule => ({
  expected: choices.map((choice) => `"${choice}"`).join(" or "),
  accepts: (value) => choices.includes(value as string),
});
const either = (first: string, isFirst: (value: unknown) => boolean, second: Rule): Rule => ({
  expected: `${first} or ${second.expected}`,
  accepts: (value) => isFirst(value) || second.accepts(value),
});
const bytes = wholeNumber(1, Number.MAX_SAFE_INTEGER, " bytes");
const path: Rule = {
  expected: "a path that is not empty",
  accepts: (value) => typeof value === "string" && value !== "" && !value.includes("\0"),
};

const POOL_RULE: Rule = either(
  "true",
  (value) => typeof value === "boolean",
  wholeNumber(0, MAX_CONCURRENCY),
);

const LIMIT_RULES: Record<keyof Limits, Rule> = {
  memory: bytes,
  cpuSeconds: wholeNumber(1, 2 ** 31, " seconds"),
  openFiles: wholeNumber(1, 2 ** 31),
};

const RETRY_DELAY_RULES: Record<keyof RetryDelay, Rule> = {
  min: milliseconds(0),
  max: milliseconds(0),
  factor: {
    expected: "a number of at least 1",
    accepts: (value) => typeof value === "number" && value >= 1 && value < Infinity,
  },
};

const HALT_RULES: Record<keyof Halt, Rule> = {
  failures: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  ratio: {
    expected: "a number above 0, at most 1",
    accepts: (value) => typeof value === "number" && value > 0 && value <= 1,
  },
};

const CALL_RULES: Record<keyof CallOptions, Rule | Record<string, Rule>> = {
  concurrency: wholeNumber(1, MAX_CONCURRENCY),
  fibers: wholeNumber(1, MAX_FIBERS),
  batch: either('"auto"', (value) => value === "auto", wholeNumber(1, MAX_BATCH)),
  timeout: milliseconds(1),
  limits: LIMIT_RULES,
  retries: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  retryDelay: RETRY_DELAY_RULES,
  stopOnError: typed("boolean"),
  halt: HALT_RULES,
  signal: {
    expected: "an AbortSignal",
    accepts: (value) => typeof (value as AbortSignal | null)?.addEventListener === "function",
  },
  killSignal: {
    expected: 'the name of a signal such as "SIGTERM"',
    accepts: (value) => typeof value === "string" && Object.hasOwn(constants.signals, value),
  },
  forceKillAfterDelay: milliseconds(0),
  onStart: typed("function"),
  onFinish: typed("function"),
  finishInOrder: typed("boolean"),
  scratchRoot: path,
  minFreeMemory: bytes,
  dedupe: typed("boolean"),
  journal: path,
  progress: either("a boolean", (value) => typeof value === "boolean", typed("string", "a title")),
  trace: path,
  tag: typed("function"),
};

const STREAM_RULES: Record<keyof StreamOptions, Rule | Record<string, Rule>> = {
  ...CALL_RULES,
  ordered: typed("boolean"),
  backpressure: wholeNumber(1, Number.MAX_SAFE_INTEGER),
};

const CONSTRUCTOR_RULES: Record<string, Rule | Record<string, Rule>> = {
  ...CALL_RULES,
  pool: POOL_RULE,
  threads: wholeNumber(1, MAX_CONCURRENCY),
  maxItemsPerChild: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  maxRss: bytes,
  output: oneOf("inherit", "tag", "collect"),
  startMethod: oneOf("fork", "spawn"),
  module: {
    expected: "a URL or a path",
    accepts: (value: unknown) => value instanceof URL || path.accepts(value),
  },
  execArgv: {
    expected: "an array of strings",
    accepts: (value: unknown) =>
      Array.isArray(value) && value.every((each) => typeof each === "string"),
  },
  env: {
    expected: "an object of strings",
    accepts: (value: unknown) =>
      typeof value === "object" &&
      value !== null &&
      !Array.isArray(value) &&
      Object.values(value).every((each) => each === undefined || typeof each === "string"),
  },
  cwd: path,
  startupTimeout: milliseconds(1),
} satisfies Record<keyof ParallelOptions, unknown>;

/** @throws TypeError that names the option, what was expected and what came */
export function checkConstructorOptions(options: unknown): void {
  check(options, CONSTRUCTOR_RULES, "", (name) => `Unknown option \`${name}\` of Parallel`);
  const { pool, threads } = options as ParallelOptions;
  if (threads !== undefined && (pool === undefined || pool === false || pool === 0)) {
    throw new TypeError(
      "The option `threads` needs `pool`: it is the number of threads in each of its children",
    );
  }
}

/** @throws TypeError that names the option, what was expected and what came */
export function checkCallOptions(options: unknown): void {
  check(options, CALL_RULES, "", ofCall);
}

/** @throws TypeError for an option that only a process can have */
export function checkThreadOptions(base: ParallelOptions, own: CallOptions): void {
  const given: ParallelOptions = { ...base, ...withoutUndefined(own) };
  for (const [name, why] of Object.entries(NOT_FOR_THREADS)) {
    if (given[name as keyof ParallelOptions] === undefined) continue;
    throw new TypeError(`The option \`${name}\` is for processes, not for threads: ${why}`);
  }
}

const NOT_FOR_THREADS = {
  limits: "the kernel enforces it on whole processes. Use mapProcesses, or `maxRss` between items",
  cwd: "those of a process share its working directory",
} satisfies Partial<Record<keyof ParallelOptions, string>>;

/** @throws TypeError that names the option, what was expected and what came */
export function checkStreamOptions(options: unknown): void {
  check(options, STREAM_RULES, "", ofCall);
}

/** @throws TypeError for anything but a number of slots */
export function checkConcurrency(count: unknown): number {
  checkOption("concurrency", count, CALL_RULES.concurrency as Rule);
  return count as number;
}

/** @throws TypeError that names the option, what was expected and what came */
function checkOption(name: string, value: unknown, rule: Rule): void {
  if (rule.accepts(value)) return;
  throw new TypeError(`Expected \`${name}\` to be ${rule.expected}, got ${describe(value)}`);
}

function ofCall(name: string): string {
  if (name in CONSTRUCTOR_RULES) {
    return `The option \`${name}\` is one of \`new Parallel(worker, { ${name} })\`, not of a call`;
  }
  return name in STREAM_RULES
    ? `The option \`${name}\` is one of \`stream\``
    : `Unknown option \`${name}\` of a call`;
}

function check(
  options: unknown,
  rules: Record<string, Rule | Record<string, Rule>>,
  prefix: string,
  unknownOption: (name: string) => string,
): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const name = prefix === "" ? "options" : prefix.slice(0, -1);
    throw new TypeError(`Expected \`${name}\` to be an object, got ${describe(options)}`);
  }
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      throw new TypeError(
        `${unknownOption(prefix + name)}. There are: ${Object.keys(rules).join(", ")}`,
      );
    }
    // `{ timeout: undefined }` is what code that passes its own options on produces.
    if (value === undefined) continue;
    if (isRule(rule)) {
      checkOption(prefix + name, value, rule);
      continue;
    }
    check(value, rule, `${prefix}${name}.`, (inner) => `Unknown option \`${inner}\``);
  }
}

function isRule(rule: Rule | Record<string, Rule>): rule is Rule {
  return typeof rule.accepts === "function";
}

/** The options of a call over those of its `Parallel` over the defaults. */
export function resolveOptions(base: CallOptions, own: CallOptions): ResolvedOptions {
  const given = { ...base, ...withoutUndefined(own) };
  return {
    ...DEFAULTS,
    ...withoutUndefined(given),
    retryDelay: { ...DEFAULT_RETRY_DELAY, ...withoutUndefined(given.retryDelay ?? {}) },
  };
}

const DEFAULTS = {
  retries: 0,
  stopOnError: true,
  killSignal: "SIGTERM",
  forceKillAfterDelay: 5000,
  finishInOrder: false,
  fibers: 1,
  batch: "auto",
  dedupe: false,
  progress: false,
} as const;
const DEFAULT_RETRY_DELAY = { min: 1000, max: 30_000, factor: 2 };

function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as T;
}
