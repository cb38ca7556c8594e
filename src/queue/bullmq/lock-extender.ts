/**
 * Keeps the locks of the jobs that a machine holds: extends them all, again and again, and tells which are lost. Runs in the thread of
 * lock-keeper.ts, or in the main loop where there can be no thread.
 */
import type { Redis } from "ioredis";
import { clearInterval, setInterval } from "../../system/timers.js";

/** BullMQ's lock of a job. `token` is new for each time that a job is taken. */
export interface HeldLock {
  readonly queue: string;
  readonly id: string;
  readonly token: string;
}

export interface LockTimes {
  /** How long a lock holds unless it is extended, in ms. */
  readonly duration: number;
  /** Pause between extensions, in ms. */
  readonly interval: number;
}

export interface LockEvents {
  onLost(locks: readonly HeldLock[]): void;
  /** Asked before each extension: whether the program may still want its locks. */
  mayHold(): boolean;
  /** Locks to extend besides those that were taken here. */
  others?(): readonly HeldLock[];
}

export class LockExtender {
  readonly #client: Redis;
  readonly #prefix: string;
  readonly #times: LockTimes;
  readonly #events: LockEvents;
  readonly #locks = new Map<string, HeldLock>();
  readonly #extendAll = () => void this.#extend().catch(() => {});
  #timer: NodeJS.Timeout | undefined;
  #isExtending = false;

  /** @param prefix - that of BullMQ's keys */
  constructor(client: Redis, prefix: string, times: LockTimes, events: LockEvents) {
    this.#client = client;
    this.#prefix = prefix;
    this.#times = times;
    this.#events = events;
  }

  start(): void {
    this.#timer ??= setInterval(this.#extendAll, this.#times.interval).unref();
    // After the server was away, what expired meanwhile is taken again before others find it.
    this.#client.on("ready", this.#extendAll);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#client.off("ready", this.#extendAll);
    this.#locks.clear();
  }

  take(lock: HeldLock): void {
    this.#locks.set(keyOf(lock), lock);
  }

  drop(lock: HeldLock): void {
    this.#locks.delete(keyOf(lock));
  }

  async #extend(): Promise<void> {
    // Extensions would pile up while the server is away.
    if (this.#isExtending || this.#client.status !== "ready" || !this.#events.mayHold()) return;
    this.#isExtending = true;
    try {
      const all = [...this.#locks.values(), ...(this.#events.others?.() ?? [])];
      const queues = new Set(all.map(({ queue }) => queue));
      for (const queue of queues) {
        const locks = all.filter((lock) => lock.queue === queue);
        const lost = await extendLocks(this.#client, this.#prefix, locks, this.#times.duration);
        for (const lock of lost) this.drop(lock);
        if (lost.length > 0) this.#events.onLost(lost);
      }
    } finally {
      this.#isExtending = false;
    }
  }
}

/**
 * Extends locks of one queue. One that has expired is taken again if no machine has been given the job: so nothing is run twice because
 * the server was away.
 *
 * @param duration - in ms
 * @returns the locks that are lost
 */
export async function extendLocks(
  client: Redis,
  prefix: string,
  locks: readonly HeldLock[],
  duration: number,
): Promise<HeldLock[]> {
  const base = `${prefix}:${locks[0]!.queue}:`;
  const pairs = locks.flatMap(({ id, token }) => [id, token]);
  const keys = [`${base}stalled`, `${base}active`];
  const lost = (await client.eval(EXTEND, 2, ...keys, base, duration, ...pairs)) as number[];
  return lost.map((place) => locks[place]!);
}

/** As BullMQ's `extendLocks`, which would give up a lock that has expired. */
const EXTEND = `
local lost = {}
for place = 0, (#ARGV - 2) / 2 - 1 do
  local id, token = ARGV[3 + 2 * place], ARGV[4 + 2 * place]
  local key = ARGV[1] .. id .. ':lock'
  local owner = redis.call('GET', key)
  if owner == token or (not owner and redis.call('LPOS', KEYS[2], id)) then
    redis.call('SET', key, token, 'PX', ARGV[2])
    redis.call('SREM', KEYS[1], id)
  else
    table.insert(lost, place)
  end
end
return lost
`;

function keyOf({ queue, id, token }: HeldLock): string {
  return `${token}/${queue}/${id}`;
}
