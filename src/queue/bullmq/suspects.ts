/**
 * Jobs that were on machines which went silent, more than once. One of them may be what ends machines; the others were only beside it. So a
 * machine runs them one at a time, and notes in the job that it has begun: a job is given up for crashes while it ran, and not for those of
 * its neighbours.
 */
import type { Redis } from "ioredis";
import { Keys } from "./keys.js";
import type { TakenJob } from "./taken-job.js";

/** Crashes after which a job is suspect. A machine that is killed for another reason does not make the rest of its jobs slow. */
const CRASHES = 2;

/** Field of BullMQ's record of a job. */
const BEGUN = "forkmap:begun";

export class Suspects {
  readonly #client: Redis;
  readonly #prefix: string;
  readonly #threshold: number;
  /** How often a suspect is begun until it is given up. */
  readonly #limit: number;
  /** Resolves once those that came before have ended. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(client: Redis, prefix: string, maxCrashes: number) {
    this.#client = client;
    this.#prefix = prefix;
    this.#threshold = Math.min(CRASHES, maxCrashes);
    this.#limit = maxCrashes - this.#threshold + 1;
  }

  has({ job }: TakenJob): boolean {
    return this.#threshold > 0 && job.stalledCounter >= this.#threshold;
  }

  /** Runs a suspect when no other one runs here; at once if it is not wanted any more. */
  async alone<T>(taken: TakenJob, run: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    let end!: () => void;
    this.#turn = Promise.all([before, new Promise<void>((resolve) => (end = resolve))]);
    try {
      await Promise.race([before, abortOf(taken.signal)]);
      if (!taken.signal.aborted) await this.#begin(taken);
      return await run();
    } finally {
      end();
    }
  }

  /** Notes the begin, unless the job is given up. */
  async #begin(taken: TakenJob): Promise<void> {
    const key = new Keys(this.#prefix, taken.queue).job(taken.id);
    const limit = taken.doom === undefined ? Number.MAX_SAFE_INTEGER : this.#limit;
    if ((await this.#client.eval(BEGIN, 1, key, BEGUN, limit)) === 1) taken.pardon();
  }
}

async function abortOf(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

/** Counts a begin if there are fewer than the limit, or the job is gone. */
const BEGIN = `
local begun = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
if begun >= tonumber(ARGV[2]) then return 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HINCRBY', KEYS[1], ARGV[1], 1) end
return 1
`;
