/** The options of `QueueWorker`: types, and which values are accepted. Where they come from is in resolve-options.ts. */
import { checkCommandOptions } from "../check-options.js";
import {
  bytes,
  check,
  either,
  LAUNCH_RULES,
  LIMIT_RULES,
  milliseconds,
  oneOf,
  path,
  RETRY_DELAY_RULES,
  type Rule,
  type Rules,
  typed,
  wholeNumber,
} from "../option-rules.js";
import type { Limits, OutputMode, ParallelOptions, RetryDelay } from "../options.js";
import { MAX_CONCURRENCY, MAX_FIBERS } from "../wire/protocol.js";
import { describe } from "../system/describe.js";
import type { StartMethod } from "../worker/worker.js";
import { ENGINE_RULES } from "./bullmq/engine.js";
import type { BullmqOptions, Connection } from "./bullmq/engine-options.js";
import { LOGGER_RULE, type Logger } from "./logger.js";
import type { Dispatcher, Middleware } from "./middleware.js";

/**
 * Options of `new QueueWorker`. One that is missing is that of `configure`, else that of the environment variable which its description
 * names, else the default.
 */
export interface QueueWorkerOptions {
  /** How to reach Redis or Valkey: `FORKMAP_CONNECTION`. @defaultValue "redis://127.0.0.1:6379" */
  readonly connection?: Connection | undefined;
  /** Begins all keys in Redis, as BullMQ's option: `FORKMAP_PREFIX`. @defaultValue "bull" */
  readonly prefix?: string | undefined;
  /** The queues whose jobs are taken: `FORKMAP_QUEUES`, with commas between. Empty: one for each worker, with its name. @defaultValue [] */
  readonly queues?: readonly string[] | undefined;
  /** How many processes run items at once, over all workers, at most 1024: `FORKMAP_PROCESSES`. @defaultValue `processorCount()` */
  readonly processes?: number | undefined;
  /** Items at once in each process, at most 1024: for work that waits more than it computes. `FORKMAP_FIBERS`. @defaultValue 1 */
  readonly fibers?: number | undefined;
  /** The most jobs taken from the queues at once, those that run included: `FORKMAP_PREFETCH`. @defaultValue 2 * processes * fibers */
  readonly prefetch?: number | undefined;
  /** Whether children stay for many items; `false` starts a new one for each: `FORKMAP_POOL`. @defaultValue true */
  readonly pool?: boolean | undefined;
  /** Replaces a child after this many items: `FORKMAP_MAX_ITEMS_PER_CHILD`. @defaultValue unlimited; 1 with `pool: false` */
  readonly maxItemsPerChild?: number | undefined;
  /** Replaces a child that holds more bytes of memory than this, between two items: `FORKMAP_MAX_RSS`. @defaultValue none */
  readonly maxRss?: number | undefined;
  /**
   * Time for one attempt at one item, in ms; then its child is killed, and the item fails. What a caller of `Parallel` sets comes first.
   * `FORKMAP_TIMEOUT`. @defaultValue none; 600000 with a `CommandWorker`
   */
  readonly timeout?: number | undefined;
  /** Limits the kernel enforces on each child process. @defaultValue none */
  readonly limits?: Limits | undefined;
  /** How long a machine may be silent until its jobs are given to others, in ms; the same everywhere: `FORKMAP_CRASH_TIMEOUT`. @defaultValue 10000 */
  readonly crashTimeout?: number | undefined;
  /** How often the job of a machine that went silent is given to another, until it fails: `FORKMAP_MAX_CRASHES`. @defaultValue 5 */
  readonly maxCrashes?: number | undefined;
  /** The pauses between attempts to reach the server, in ms. @defaultValue `{ min: 1000, max: 30000, factor: 2 }` */
  readonly retry?: RetryDelay | undefined;
  /** Time that jobs have to end after INT or TERM, in ms; then they are given back: `FORKMAP_STOP_TIMEOUT`. @defaultValue 30000 */
  readonly stopTimeout?: number | undefined;
  /** Whether INT and TERM stop the queue worker while `run` is under way. Other listeners of these signals are called too. @defaultValue true */
  readonly signals?: boolean | undefined;
  /** Is told what happens: `console`, or a logger of pino or winston. @defaultValue warnings of the process for what is wrong */
  readonly logger?: Logger | undefined;
  /** Chooses the worker of a job. @defaultValue that with the name of the job */
  readonly dispatcher?: Dispatcher | undefined;
  /** What runs around each job, in this process; the first is the outermost. @defaultValue [] */
  readonly middleware?: readonly Middleware[] | undefined;
  /** How children are started: `FORKMAP_START_METHOD`. @defaultValue "fork" where possible, else "spawn" */
  readonly startMethod?: StartMethod | undefined;
  /** Node options of the children. @defaultValue process.execArgv */
  readonly execArgv?: readonly string[] | undefined;
  /** Environment of the children. @defaultValue process.env */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Working directory of the children. @defaultValue process.cwd() */
  readonly cwd?: string | undefined;
  /** Where the output of children goes, as the option of `Parallel`; `"tag"` prefixes each line with the id of its job. @defaultValue "inherit" */
  readonly output?: OutputMode | undefined;
  /** Time for a worker to load and to run `preload`, in ms: `FORKMAP_STARTUP_TIMEOUT`. @defaultValue 30000 */
  readonly startupTimeout?: number | undefined;
  /** The directory of a supervisor that knows the children, see docs/supervisor.md: `FORKMAP_SUPERVISED`. @defaultValue none */
  readonly supervised?: string | undefined;
}

/** The name of a queue in BullMQ, which separates the parts of its keys by colons. */
export const QUEUES_RULE: Rule = {
  expected: "an array of names of queues, none of them empty, with a colon, or twice",
  accepts: (value) =>
    Array.isArray(value) && value.every(isQueue) && new Set(value).size === value.length,
  describe(value) {
    if (!Array.isArray(value)) return describe(value);
    const odd: unknown = value.find((each, at) => !isQueue(each) || value.indexOf(each) !== at);
    return `an array with ${describe(odd)}${isQueue(odd) ? " twice" : ""}`;
  },
};

function isQueue(name: unknown): boolean {
  return typeof name === "string" && /^[^:]+$/.test(name);
}

const { connection, prefix, crashTimeout, maxCrashes } = ENGINE_RULES satisfies Record<
  keyof BullmqOptions,
  Rule
>;
const { env, cwd, execArgv } = LAUNCH_RULES;

export const QUEUE_WORKER_RULES: Readonly<Record<keyof QueueWorkerOptions, Rule | Rules>> = {
  connection,
  prefix,
  crashTimeout,
  maxCrashes,
  queues: QUEUES_RULE,
  processes: wholeNumber(1, MAX_CONCURRENCY),
  fibers: wholeNumber(1, MAX_FIBERS),
  prefetch: wholeNumber(1, 100_000),
  pool: typed("boolean"),
  maxItemsPerChild: wholeNumber(1, Number.MAX_SAFE_INTEGER),
  maxRss: bytes,
  timeout: milliseconds(1),
  limits: LIMIT_RULES,
  retry: RETRY_DELAY_RULES,
  stopTimeout: milliseconds(0),
  signals: typed("boolean"),
  logger: LOGGER_RULE,
  dispatcher: either("a function (job) => worker", (value) => typeof value === "function", {
    expected: "an object with a method dispatch(job)",
    accepts: (value) =>
      typeof (value as { dispatch?: unknown } | null | undefined)?.dispatch === "function",
  }),
  middleware: {
    expected: "an array of functions (job, next) => result",
    accepts: (value) => Array.isArray(value) && value.every((each) => typeof each === "function"),
  },
  startMethod: oneOf("fork", "spawn"),
  execArgv,
  env,
  cwd,
  output: oneOf("inherit", "tag", "collect"),
  startupTimeout: milliseconds(1),
  supervised: path,
};

/** @throws TypeError that names the option, what was expected and what came */
export function checkQueueWorkerOptions(options: unknown): asserts options is QueueWorkerOptions {
  check(options, QUEUE_WORKER_RULES, "", (name) => `Unknown option \`${name}\` of QueueWorker`);
}

/**
 * Returns the options of a worker's children.
 *
 * @throws TypeError for an option that a program cannot have
 */
export function childOptions(
  options: QueueWorkerOptions,
  isCommand: boolean,
): ParallelOptions<never, never> {
  const own: Record<string, unknown> = {};
  for (const name of OF_CHILDREN) if (options[name] !== undefined) own[name] = options[name];
  if (isCommand) checkCommandOptions(own);
  return own;
}

const OF_CHILDREN = [
  ...(["fibers", "maxItemsPerChild", "maxRss", "timeout", "limits", "startMethod"] as const),
  ...(["execArgv", "env", "cwd", "output", "startupTimeout", "supervised"] as const),
] satisfies readonly (keyof QueueWorkerOptions & keyof ParallelOptions)[];
