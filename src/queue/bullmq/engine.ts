/**
 * The folder holds the engine on BullMQ: jobs in Redis or Valkey. Here: `bullmq`, which makes it for the option `engine`, and its two
 * verbs, each loaded when it is first used.
 */
import { check, milliseconds, type Rule, wholeNumber } from "../../option-rules.js";
import type { Engine } from "../../options.js";
import type { MapPlan, ServePlan, Serving, TaskEngine } from "../../pool/engine.js";
import type { Pool } from "../../pool/pool.js";
import { isWorkerName, WORKER_NAME_EXPECTED } from "../../worker/worker-name.js";
import {
  type BullmqOptions,
  DEFAULT_CONNECTION,
  DEFAULT_CRASH_TIMEOUT_MS,
  DEFAULT_KEEP_RUN_MS,
  DEFAULT_MAX_CRASHES,
  DEFAULT_PREFIX,
  type ResolvedBullmqOptions,
} from "./engine-options.js";

/**
 * Returns an engine for `new Parallel(worker, { engine })`: items run on all machines that serve the worker, with BullMQ on a server of
 * Redis or Valkey between them.
 *
 * @remarks
 * The worker needs `static workerName`, a name that all machines know, with a version: a machine runs its own code under that name.
 * Results are exact and in order; an item is run at least once, and again if its machine goes silent. The server is checked with the
 * first call. Close the `Parallel` in the end: it has two connections.
 *
 * @throws TypeError that names the option, what was expected and what came
 *
 * @example
 * ```ts
 * import { JsonWorker, Parallel } from "forkmap";
 * import { bullmq, QueueWorker } from "forkmap/bullmq";
 *
 * export class Length extends JsonWorker<string, number> {
 *   static workerName = "length@1";
 *   process(text: string): number {
 *     return text.length;
 *   }
 * }
 *
 * // Usually on other machines.
 * const machine = new QueueWorker([new Length()], { processes: 1 });
 * const serving = machine.run();
 *
 * const engine = bullmq(); // of the environment variable FORKMAP_CONNECTION, or on this machine
 * const parallel = new Parallel(new Length(), { engine });
 * console.log(await parallel.mapProcesses(["a", "bc"])); // [ 1, 2 ]
 * await parallel.close();
 * machine.stop();
 * await serving;
 * ```
 */
export function bullmq(options: BullmqOptions = {}): Engine {
  check(options, ENGINE_RULES, "", (name) => `Unknown option \`${name}\` of bullmq`);
  const { FORKMAP_CONNECTION: url } = process.env;
  if (options.connection === undefined && url !== undefined && !CONNECTION_RULE.accepts(url)) {
    throw new TypeError(
      "Expected the environment variable FORKMAP_CONNECTION to be a URL that begins with redis:// or rediss://, or the path of a socket",
    );
  }
  return new BullmqEngine(withDefaults(options));
}

export const CONNECTION_RULE: Rule = {
  expected:
    'a URL such as "redis://127.0.0.1:6379", or an object with options of ioredis (a client that is connected cannot be shared with other processes)',
  accepts: (value) =>
    (typeof value === "string" && /^(rediss?:\/\/|\/)./.test(value)) ||
    (typeof value === "object" &&
      value !== null &&
      [Object.prototype, null].includes(Object.getPrototypeOf(value) as null)),
};

export const ENGINE_RULES: Record<keyof BullmqOptions, Rule> = {
  connection: CONNECTION_RULE,
  prefix: {
    expected: "a text without white space that is not empty",
    accepts: (value) => typeof value === "string" && /^\S+$/.test(value),
  },
  queue: { expected: WORKER_NAME_EXPECTED, accepts: isWorkerName },
  crashTimeout: milliseconds(1000, 3_600_000),
  maxCrashes: wholeNumber(0, 1000),
  keepRun: milliseconds(60_000),
};

export function withDefaults(options: BullmqOptions): ResolvedBullmqOptions {
  const { connection, prefix, queue, crashTimeout, maxCrashes, keepRun } = options;
  return {
    connection: connection ?? process.env["FORKMAP_CONNECTION"] ?? DEFAULT_CONNECTION,
    prefix: prefix ?? process.env["FORKMAP_PREFIX"] ?? DEFAULT_PREFIX,
    crashTimeout: crashTimeout ?? DEFAULT_CRASH_TIMEOUT_MS,
    maxCrashes: maxCrashes ?? DEFAULT_MAX_CRASHES,
    keepRun: keepRun ?? DEFAULT_KEEP_RUN_MS,
    ...(queue === undefined ? {} : { queue }),
  };
}

export class BullmqEngine implements TaskEngine {
  readonly name = "bullmq";
  readonly #options: ResolvedBullmqOptions;

  constructor(options: ResolvedBullmqOptions) {
    this.#options = options;
  }

  async map(plan: MapPlan): Promise<Pool> {
    const { MapPool } = await import("./map-pool.js");
    return await MapPool.open(this.#options, plan);
  }

  async serve(plan: ServePlan): Promise<Serving> {
    const { serve } = await import("./serving.js");
    return await serve(this.#options, plan);
  }
}
