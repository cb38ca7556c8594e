/** The options of `Parallel` and of its calls: types, defaults and validation, all in one place. */
import { constants } from "node:os";
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
  /** What the child cost, where the system could tell. */
  readonly usage: Usage | undefined;
}

/**
 * Options of one call, as second argument of `mapProcesses`, `eachProcess` and `mapSettled`; given to `new Parallel`
 * they are the defaults of its calls.
 */
export interface CallOptions<Item = unknown, Result = unknown> {
  /** Children alive at once, at most 1024. @defaultValue 32 forked, `processorCount()` spawned */
  readonly concurrency?: number;
  /** Time for one attempt at one item, in ms; after it the child is killed, with all it has started, and the item fails. @defaultValue none */
  readonly timeout?: number;
  /** Limits the kernel enforces on each forked child. @defaultValue none */
  readonly limits?: Limits;
  /** How often an item whose `process` threw, whose child died or which timed out is tried again. @defaultValue 0 */
  readonly retries?: number;
  readonly retryDelay?: RetryDelay;
  /**
   * `true`: after an error no new item starts, those in flight finish, then the first error in time is thrown.
   * `false`: all items run, then an `AggregateError` holds every error. @defaultValue true
   */
  readonly stopOnError?: boolean;
  /** Ends the call: children are killed, and it rejects with the signal's reason once they are gone. */
  readonly signal?: AbortSignal;
  /** What a child is killed with first. @defaultValue "SIGTERM" */
  readonly killSignal?: NodeJS.Signals;
  /** Time a child has to end after `killSignal` before it gets SIGKILL, in ms. @defaultValue 5000 */
  readonly forceKillAfterDelay?: number;
  /** Called before an item starts (once, however often it is retried). Hooks run in this process, one at a time, and are awaited; one that throws stops the call. */
  readonly onStart?: (item: Item, index: number) => unknown;
  /** Called after an item has succeeded. */
  readonly onFinish?: (item: Item, index: number, result: Result, info: FinishInfo) => unknown;
  /** Calls `onFinish` in the order of the items. @defaultValue false */
  readonly finishInOrder?: boolean;
  /** Where the scratch directory of a call is made. @defaultValue os.tmpdir() */
  readonly scratchRoot?: string;
}

/** Options of `new Parallel`. */
export interface ParallelOptions<Item = unknown, Result = unknown> extends CallOptions<
  Item,
  Result
> {
  /** How children come to be. @defaultValue "fork" where it can be, else "spawn" */
  readonly startMethod?: StartMethod;
  /** The module that defines the worker's class: a URL or a path. @defaultValue found by itself */
  readonly module?: string | URL;
  /** Options of Node for the children. @defaultValue process.execArgv */
  readonly execArgv?: readonly string[];
  /** Environment of the children. @defaultValue process.env */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Working directory of the children. @defaultValue process.cwd() */
  readonly cwd?: string;
  /** Time for a worker to load and to `preload`, in ms. @defaultValue 30000 */
  readonly startupTimeout?: number;
}

/** Call options with every default filled in, but for those that have none. */
export type ResolvedOptions = Required<
  Pick<
    CallOptions,
    "retries" | "stopOnError" | "killSignal" | "forceKillAfterDelay" | "finishInOrder"
  >
> & {
  readonly retryDelay: Required<RetryDelay>;
  readonly onStart?: (item: never, index: number) => unknown;
  readonly onFinish?: (item: never, index: number, result: never, info: FinishInfo) => unknown;
} & Pick<CallOptions, "concurrency" | "timeout" | "limits" | "signal" | "scratchRoot">;

/** What a Node timer can hold (2 ** 31 - 1); a longer one would fire at once. */
const MAX_DELAY_MS = 2_147_483_647;
export const DEFAULT_STARTUP_TIMEOUT_MS = 30_000;

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
const path: Rule = {
  expected: "a path that is not empty",
  accepts: (value) => typeof value === "string" && value !== "" && !value.includes("\0"),
};

const LIMIT_RULES: Record<keyof Limits, Rule> = {
  memory: wholeNumber(1, Number.MAX_SAFE_INTEGER, " bytes"),
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

const CALL_RULES: Record<keyof CallOptions, Rule | Record<string, Rule>> = {
  concurrency: wholeNumber(1, MAX_CONCURRENCY),
  timeout: milliseconds(1),
  limits: LIMIT_RULES,
  retries: wholeNumber(0, Number.MAX_SAFE_INTEGER),
  retryDelay: RETRY_DELAY_RULES,
  stopOnError: typed("boolean"),
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
};

const CONSTRUCTOR_RULES: Record<string, Rule | Record<string, Rule>> = {
  ...CALL_RULES,
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
}

/** @throws TypeError that names the option, what was expected and what came */
export function checkCallOptions(options: unknown): void {
  check(options, CALL_RULES, "", (name) =>
    name in CONSTRUCTOR_RULES
      ? `The option \`${name}\` is one of \`new Parallel(worker, { ${name} })\`, not of a call`
      : `Unknown option \`${name}\` of a call`,
  );
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
      if (rule.accepts(value)) continue;
      throw new TypeError(
        `Expected \`${prefix}${name}\` to be ${rule.expected}, got ${describe(value)}`,
      );
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
} as const;
const DEFAULT_RETRY_DELAY = { min: 1000, max: 30_000, factor: 2 };

function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as T;
}
