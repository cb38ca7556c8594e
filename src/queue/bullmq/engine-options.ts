/** The options of `bullmq`, and their defaults. */
import type { RedisOptions } from "ioredis";

/**
 * How to reach Redis or Valkey: a URL (`redis://user:password@host:6379/0`, `rediss://` for TLS), or options of ioredis, which may
 * name sentinels, beside a `url` or without one. Functions among them are not passed on.
 */
export type Connection = string | (RedisOptions & { readonly url?: string | undefined });

/** Options of `bullmq`. */
export interface BullmqOptions {
  /** @defaultValue the environment variable FORKMAP_CONNECTION, else 127.0.0.1:6379 */
  readonly connection?: Connection;
  /** Begins all keys; as BullMQ's option. @defaultValue "bull" */
  readonly prefix?: string;
  /** The queue through which items travel. @defaultValue the name of the worker */
  readonly queue?: string;
  /** How long a machine may be silent until its jobs are given to others, in ms. The same for all machines and callers. @defaultValue 10000 */
  readonly crashTimeout?: number;
  /** How often the job of a machine that went silent is given to another, until its items fail. @defaultValue 5 */
  readonly maxCrashes?: number;
  /** How long an unfinished named run is kept while no program continues it, in ms. @defaultValue 604800000, a week */
  readonly keepRun?: number;
}

/** With all defaults. */
export type ResolvedBullmqOptions = Required<Omit<BullmqOptions, "queue">> &
  Pick<BullmqOptions, "queue">;

export const DEFAULT_CONNECTION = "redis://127.0.0.1:6379";
export const DEFAULT_PREFIX = "bull";
export const DEFAULT_CRASH_TIMEOUT_MS = 10_000;
export const DEFAULT_MAX_CRASHES = 5;
export const DEFAULT_KEEP_RUN_MS = 7 * 24 * 3600 * 1000;
