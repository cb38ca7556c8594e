/** Checks the options of `Parallel` and of its calls. */
import { constants } from "node:os";
import {
  bytes,
  check,
  checkOption,
  either,
  LAUNCH_RULES,
  LIMIT_RULES,
  milliseconds,
  oneOf,
  path,
  type Rule,
  type Rules,
  RETRY_DELAY_RULES,
  typed,
  wholeNumber,
} from "./option-rules.js";
import {
  type CallOptions,
  type Halt,
  type ParallelOptions,
  type RunOptions,
  type StreamOptions,
  withoutUndefined,
} from "./options.js";
import { MAX_BATCH } from "./pool/batching.js";
import { MAX_CONCURRENCY, MAX_FIBERS } from "./wire/protocol.js";

const POOL_RULE: Rule = either(
  "true",
  (value) => typeof value === "boolean",
  wholeNumber(0, MAX_CONCURRENCY),
);

const HALT_RULES: Record<keyof Halt, Rule> = {
  failures: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  ratio: {
    expected: "a number above 0, at most 1",
    accepts: (value) => typeof value === "number" && value > 0 && value <= 1,
  },
};

const CALL_RULES: Record<keyof CallOptions, Rule | Rules> = {
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
  run: {
    expected: "a name of up to 200 letters, digits and -_.~@",
    accepts: (value) => typeof value === "string" && /^[\w.~@-]{1,200}$/.test(value),
  },
  tag: typed("function"),
};

const STREAM_RULES: Record<keyof StreamOptions, Rule | Rules> = {
  ...CALL_RULES,
  ordered: typed("boolean"),
  backpressure: wholeNumber(1, Number.MAX_SAFE_INTEGER),
};

const { timeout, retries, signal } = CALL_RULES as Record<keyof RunOptions, Rule>;
export const RUN_RULES: Record<keyof RunOptions, Rule> = { timeout, retries, signal };

const CONSTRUCTOR_RULES: Record<string, Rule | Rules> = {
  ...CALL_RULES,
  pool: POOL_RULE,
  threads: wholeNumber(1, MAX_CONCURRENCY),
  supervised: path,
  maxItemsPerChild: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  maxRss: bytes,
  output: oneOf("inherit", "tag", "collect"),
  serialization: oneOf("json", "advanced"),
  startMethod: oneOf("fork", "spawn"),
  ...LAUNCH_RULES,
  startupTimeout: milliseconds(1),
  closeTimeout: milliseconds(0),
  maxQueue: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  engine: {
    expected: "an engine, such as bullmq({ connection }) of forkmap/bullmq",
    accepts: (value: unknown) => typeof (value as { map?: unknown } | null)?.map === "function",
  },
} satisfies Record<keyof ParallelOptions, unknown>;

/** @throws TypeError that names the option, what was expected and what came */
export function checkConstructorOptions(options: unknown): void {
  check(options, CONSTRUCTOR_RULES, "", (name) => `Unknown option \`${name}\` of Parallel`);
  const { pool, threads, supervised } = options as ParallelOptions;
  if (supervised !== undefined && (threads !== undefined || !pool)) {
    throw new TypeError(
      "The option `supervised` needs `pool`, and processes: a supervisor knows the children that stay",
    );
  }
  if (threads !== undefined && (pool === undefined || pool === false || pool === 0)) {
    throw new TypeError(
      "The option `threads` needs `pool`: it is the number of threads in each of its children",
    );
  }
  if (threads !== undefined) checkOutputOfThreads(options as ParallelOptions);
  checkEngineOptions(options as ParallelOptions, options as ParallelOptions);
  if ((options as ParallelOptions).run === undefined) return;
  throw new TypeError("The option `run` is one of a call: each run has a name of its own");
}

/**
 * @param base - the options of `new Parallel`
 * @param own - those to check
 * @throws TypeError for an option that only children of this program can have, and for one that needs an engine
 */
export function checkEngineOptions({ engine }: ParallelOptions, own: ParallelOptions): void {
  if (engine === undefined) {
    if (own.run === undefined) return;
    throw new TypeError(
      "The option `run` needs an `engine`: without one, use `journal` to continue a call after its program was killed",
    );
  }
  for (const name of NOT_WITH_ENGINE) {
    if (own[name] === undefined) continue;
    throw new TypeError(
      `The option \`${name}\` is not for an \`engine\`: it is one of the children, which each machine has by its own QueueWorker`,
    );
  }
}

const NOT_WITH_ENGINE = [
  "pool",
  "threads",
  "supervised",
  "maxItemsPerChild",
  "maxRss",
  "output",
  "tag",
  "limits",
  "startMethod",
  "module",
  "execArgv",
  "env",
  "cwd",
  "startupTimeout",
  "fibers",
  "minFreeMemory",
  "scratchRoot",
  "killSignal",
  "forceKillAfterDelay",
] as (keyof ParallelOptions)[];

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
  checkOutputOfThreads(base);
}

/** @throws TypeError for another mode than "inherit": threads write to the streams of their process */
function checkOutputOfThreads({ output = "inherit" }: ParallelOptions): void {
  if (output === "inherit") return;
  throw new TypeError(
    `The option \`output\` is for processes, not for threads: expected "inherit", got "${output}"`,
  );
}

const NOT_FOR_THREADS = {
  engine: "threads are those of this program. Use mapProcesses",
  limits: "the kernel enforces it on whole processes. Use mapProcesses, or `maxRss` between items",
  cwd: "all threads of a process share its working directory",
} satisfies Partial<Record<keyof ParallelOptions, string>>;

/** @throws TypeError for an option that only children that run Node can have */
export function checkCommandOptions(options: ParallelOptions): void {
  if (typeof options !== "object" || options === null) return;
  for (const [name, why] of Object.entries(NOT_FOR_PROGRAMS)) {
    if (options[name as keyof ParallelOptions] === undefined) continue;
    throw new TypeError(`The option \`${name}\` is not for a CommandWorker: ${why}`);
  }
  if (options.pool !== 0) return;
  throw new TypeError(
    "Expected `pool` of a CommandWorker to be true, false or a whole number from 1, got 0: a program cannot run in this process",
  );
}

const NOT_FOR_PROGRAMS = {
  threads:
    "a program manages its own threads, and `fibers` sets how many items it receives at once",
  serialization: "a program receives JSON, and bytes in a file",
  supervised: "a program does not introduce itself to a supervisor",
  startMethod: "its program is always started directly",
  module: "its program is named by `argv`",
  execArgv: "options of its program are part of `argv`",
  startupTimeout:
    "a program does not report that it has started; its start counts towards the `timeout` of its first item",
  limits:
    'begin `argv` with "prlimit", such as ["prlimit", "--as=1073741824", "ruby", "worker.rb"]',
} satisfies Partial<Record<keyof ParallelOptions, string>>;

/** @throws TypeError that names the option, what was expected and what came */
export function checkStreamOptions(options: unknown): void {
  check(options, STREAM_RULES, "", ofCall);
}

/** @throws TypeError that names the option, what was expected and what came */
export function checkRunOptions(options: unknown): void {
  check(options, RUN_RULES, "", (name) =>
    name in CONSTRUCTOR_RULES
      ? `The option \`${name}\` is not one of \`run\``
      : `Unknown option \`${name}\` of \`run\``,
  );
}

/** @throws TypeError for an option of `new Parallel` that `run` would have to ignore */
export function checkRunDefaults(base: ParallelOptions): void {
  for (const name of OF_MANY_ITEMS) {
    if (base[name] === undefined || base[name] === false) continue;
    throw new TypeError(
      `\`run\` does not support the option \`${name}\` of new Parallel: it is for calls with many items. ` +
        `Pass \`${name}\` to those calls, or use another Parallel for \`run\``,
    );
  }
}

/** Options of calls that `run` cannot have. */
export const OF_MANY_ITEMS = [
  "onStart",
  "onFinish",
  "dedupe",
  "journal",
  "progress",
  "trace",
] as const;

/** @throws TypeError for anything but a whole number from 1 to MAX_CONCURRENCY */
export function checkConcurrency(count: unknown): number {
  checkOption("concurrency", count, CALL_RULES.concurrency as Rule);
  return count as number;
}

function ofCall(name: string): string {
  if (name in CONSTRUCTOR_RULES) {
    return `The option \`${name}\` is one of \`new Parallel(worker, { ${name} })\`, not of a call`;
  }
  return name in STREAM_RULES
    ? `The option \`${name}\` is one of \`stream\``
    : `Unknown option \`${name}\` of a call`;
}
