/** Where the options of a `QueueWorker` come from: its own, those of `configure`, the environment, the defaults, in this order. */
import { DEFAULT_RETRY_DELAY, type RetryDelay, withoutUndefined } from "../options.js";
import { processorCount } from "../system/processor-count.js";
import { withDefaults } from "./bullmq/engine.js";
import type { BullmqOptions, ResolvedBullmqOptions } from "./bullmq/engine-options.js";
import { configured } from "./configure.js";
import { optionsFrom } from "./environment.js";
import { checkQueueWorkerOptions, type QueueWorkerOptions } from "./worker-options.js";

export interface ResolvedQueueWorkerOptions {
  /** Those that were set anywhere. */
  readonly given: QueueWorkerOptions;
  readonly server: ResolvedBullmqOptions;
  readonly queues: readonly string[];
  readonly processes: number;
  /** How many items run at once. */
  readonly slots: number;
  readonly prefetch: number;
  readonly pool: boolean;
  readonly retry: Required<RetryDelay>;
  readonly stopTimeout: number;
  readonly signals: boolean;
}

const DEFAULT_STOP_TIMEOUT_MS = 30_000;

/** @throws TypeError that names the option or the environment variable, what was expected and what came */
export function resolveQueueWorkerOptions(
  own: QueueWorkerOptions,
  env: NodeJS.ProcessEnv = process.env,
): ResolvedQueueWorkerOptions {
  checkQueueWorkerOptions(own);
  const given: QueueWorkerOptions = {
    ...optionsFrom(env),
    ...configured(),
    ...withoutUndefined(own),
  };
  const { connection, prefix, crashTimeout, maxCrashes } = given;
  const { processes = processorCount(), fibers = 1, pool = true } = given;
  if (fibers > 1 && !pool) {
    throw new TypeError(
      "The option `fibers` needs `pool: true`: a child that runs one item runs no other beside it",
    );
  }
  if (given.supervised !== undefined && !pool) {
    throw new TypeError(
      "The option `supervised` needs `pool: true`: a supervisor knows the children that stay",
    );
  }
  const slots = processes * fibers;
  return {
    given,
    server: withDefaults(
      withoutUndefined({ connection, prefix, crashTimeout, maxCrashes }) as BullmqOptions,
    ),
    queues: given.queues ?? [],
    processes,
    slots,
    pool,
    prefetch: given.prefetch ?? 2 * slots,
    retry: { ...DEFAULT_RETRY_DELAY, ...withoutUndefined(given.retry ?? {}) },
    stopTimeout: given.stopTimeout ?? DEFAULT_STOP_TIMEOUT_MS,
    signals: given.signals ?? true,
  };
}
