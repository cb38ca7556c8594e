/**
 * Keeps the locks of the jobs that this process holds, in a thread that runs nothing else: so a job is not lost while the main loop is
 * blocked by middleware or by a busy server in the same program. Where there can be no thread, the main loop does it.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { Redis } from "ioredis";
import type { RetryDelay } from "../../options.js";
import { clearInterval, setInterval } from "../../system/timers.js";
import { OWN_FOLDER } from "../../wire/stack-frames.js";
import type { Connection } from "./engine-options.js";
import { type HeldLock, LockExtender, type LockTimes } from "./lock-extender.js";
import { LockTable } from "./lock-table.js";

/** `workerData` of the thread. */
export interface KeeperData {
  readonly connection: Connection;
  readonly prefix: string;
  readonly retry: Required<RetryDelay>;
  readonly times: LockTimes;
  /** Of the table of locks. */
  readonly locks: SharedArrayBuffer;
  /** How long the main loop may be blocked until the thread lets go of the locks, in ms. */
  readonly patience: number;
}

export type ToKeeper =
  /** One that the table has no room for. */
  | { readonly do: "take" | "drop"; readonly lock: HeldLock }
  /** The main loop runs. */
  | { readonly do: "wait" };

export type FromKeeper =
  | { readonly status: "ready" }
  | { readonly status: "lost"; readonly locks: readonly HeldLock[] };

/** A main loop that is blocked for longer will not go on: other machines shall have its jobs. */
const PATIENCE_MS = 5 * 60_000;
const SIGN_OF_LIFE_MS = 10_000;

export interface KeeperOptions {
  readonly connection: Connection;
  readonly prefix: string;
  readonly retry: Required<RetryDelay>;
  readonly times: LockTimes;
  /** How many locks are usually held at most. */
  readonly most: number;
  /** Of the main loop, in case that it has to do the work. */
  readonly client: Redis;
  onLost(locks: readonly HeldLock[]): void;
}

export class LockKeeper {
  readonly #options: KeeperOptions;
  readonly #table: LockTable;
  /** By place in the table; `undefined` for those that have none. */
  readonly #locks = new Map<HeldLock, number | undefined>();
  #thread: Worker | undefined;
  #signs: NodeJS.Timeout | undefined;
  /** Does the work of the thread if there is none. */
  #own: LockExtender | undefined;
  #isClosed = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#table = new LockTable(options.most);
  }

  /** Resolves once locks are kept. */
  async open(): Promise<void> {
    await new Promise<void>((resolve) => {
      const thread = this.#startThread();
      if (!thread) {
        this.#doItself();
        return resolve();
      }
      this.#thread = thread;
      // It ends by an error that is not ours to report: then there is no thread.
      thread.on("error", () => {});
      thread.once("exit", () => {
        this.#thread = undefined;
        if (!this.#isClosed) this.#doItself();
        resolve();
      });
      thread.on("message", (message: FromKeeper) => {
        if (message.status === "lost") this.#options.onLost(message.locks);
        else resolve();
      });
      thread.unref();
      this.#signs = setInterval(() => this.#tell({ do: "wait" }), SIGN_OF_LIFE_MS).unref();
    });
  }

  take(lock: HeldLock): void {
    const place = this.#table.add(lock);
    this.#locks.set(lock, place);
    if (place === undefined) this.#tell({ do: "take", lock });
    this.#own?.take(lock);
  }

  drop(lock: HeldLock): void {
    const place = this.#locks.get(lock);
    if (!this.#locks.delete(lock)) return;
    if (place === undefined) this.#tell({ do: "drop", lock });
    else this.#table.remove(place);
    this.#own?.drop(lock);
  }

  /** Lets go of all locks. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#signs);
    this.#own?.stop();
    await this.#thread?.terminate();
  }

  #tell(message: ToKeeper): void {
    this.#thread?.postMessage(message);
  }

  /** Returns `undefined` where threads are forbidden, or this package is in a bundle. */
  #startThread(): Worker | undefined {
    const file = OWN_FOLDER && fileURLToPath(`${OWN_FOLDER}queue/bullmq/lock-keeper-thread.js`);
    if (!file || !existsSync(file)) return undefined;
    const { connection, prefix, retry, times } = this.#options;
    const data: KeeperData = {
      connection: sendable(connection),
      prefix,
      times,
      locks: this.#table.buffer,
      patience: PATIENCE_MS,
      // Back before the jobs are given to others, whenever the server is.
      retry: { ...retry, max: Math.min(retry.max, times.interval) },
    };
    try {
      // Without the loaders of the user's program, which the thread does not need.
      return new Worker(file, { name: "forkmap locks", workerData: data, execArgv: [] });
    } catch {
      return undefined;
    }
  }

  #doItself(): void {
    clearInterval(this.#signs);
    const { client, prefix, times, onLost } = this.#options;
    this.#own = new LockExtender(client, prefix, times, { onLost, mayHold: () => true });
    for (const lock of this.#locks.keys()) this.#own.take(lock);
    this.#own.start();
  }
}

/** Functions cannot be sent to a thread. */
function sendable(connection: Connection): Connection {
  if (typeof connection === "string") return connection;
  const entries = Object.entries(connection).filter(([, value]) => typeof value !== "function");
  return Object.fromEntries(entries);
}
