/**
 * Reads the streams to which machines add their reports, one after the other by their ids: as long as an entry is not removed it is
 * not lost, however late it is read. Reports of any number of runs are read by one connection that waits for the next.
 */
import type { Redis } from "ioredis";
import { setTimeout } from "../../system/timers.js";
import type { Keys, ReportFields } from "./keys.js";

/** How long the server waits for the next entry, in ms: less than the time after which a silent connection is given up. */
const BLOCK_MS = 2000;
/** Entries read at once: each may have the results of a batch. */
const COUNT = 100;
/** After an error of the server. */
const PAUSE_MS = 500;

export interface ReportEvents {
  onReport(stream: string, fields: ReportFields): void;
  /** All entries that were there when the read began have been passed on. @param rounds - how many reads have been completed */
  onRound(rounds: number): void;
}

export class ReportReader {
  readonly #client: Redis;
  readonly #waiter: Redis;
  readonly #own: string;
  readonly #events: ReportEvents;
  /** The id of the last entry read, by stream. */
  readonly #streams = new Map<string, string>();
  #rounds = 0;
  #isClosed = false;

  /**
   * @param client - for all but waiting
   * @param waiter - a connection on which nothing else is done
   * @param own - name of the stream of this program's calls without a name
   */
  constructor(client: Redis, waiter: Redis, keys: Keys, own: string, events: ReportEvents) {
    this.#client = client;
    this.#waiter = waiter;
    this.#own = keys.reports(own);
    this.#events = events;
  }

  /** How many reads have been completed. */
  get rounds(): number {
    return this.#rounds;
  }

  /** Makes the program's own stream and begins to read. @param ttl - in ms: kept so long if the program is killed */
  async start(ttl: number): Promise<void> {
    await keepStream(this.#client, this.#own, ttl, true);
    this.#streams.set(this.#own, "0");
    void this.#read();
  }

  /** Makes streams again that the server has lost; renews the time for which this program's own is kept. */
  async keepStreams(ttl: number): Promise<void> {
    // It may be closed meanwhile, or the next be removed: whoever does so removes the stream by a command that comes later than the last of these.
    for (const key of this.#streams.keys()) {
      if (this.#isClosed) return;
      await keepStream(this.#client, key, ttl, key === this.#own);
    }
  }

  /** Reads another stream, from the entry after `id` on. */
  add(key: string, id: string): void {
    this.#streams.set(key, id);
    this.#wake();
  }

  remove(key: string): void {
    this.#streams.delete(key);
  }

  close(): void {
    this.#isClosed = true;
    this.#waiter.disconnect();
  }

  /** The connection waits for the streams that it was told of. */
  #wake(): void {
    this.#client.xadd(this.#own, "NOMKSTREAM", "*", "wake", "1").catch(() => {});
  }

  async #read(): Promise<void> {
    while (!this.#isClosed) {
      try {
        await this.#readOnce();
      } catch {
        if (this.#isClosed) return;
        // The connection is made again by itself; an error of the server, such as LOADING, is waited out.
        await new Promise<void>((resolve) => setTimeout(resolve, PAUSE_MS).unref());
      }
    }
  }

  async #readOnce(): Promise<void> {
    const keys = [...this.#streams.keys()];
    const ids = keys.map((key) => this.#streams.get(key)!);
    const read = await this.#waiter.xread(
      "COUNT",
      COUNT,
      "BLOCK",
      BLOCK_MS,
      "STREAMS",
      ...keys,
      ...ids,
    );
    for (const [key, entries] of read ?? []) this.#passOn(key, entries);
    const isAll = (read ?? []).every(([, entries]) => entries.length < COUNT);
    if (isAll) this.#events.onRound((this.#rounds += 1));
  }

  #passOn(key: string, entries: readonly [string, string[]][]): void {
    if (!this.#streams.has(key)) return;
    for (const [id, fields] of entries) {
      this.#streams.set(key, id);
      this.#events.onReport(key, fieldsOf(fields));
    }
    // A named run needs them if this program is killed.
    if (key !== this.#own) return;
    this.#client.xdel(key, ...entries.map(([id]) => id)).catch(() => {});
  }
}

/**
 * Makes a stream if there is none. Machines add to no stream that does not exist: its run is over.
 *
 * @param ttl - how long it is kept, in ms
 * @param isRenewed - whether `ttl` counts anew for one that is there
 */
export async function keepStream(
  client: Redis,
  key: string,
  ttl: number,
  isRenewed: boolean,
): Promise<void> {
  await client.eval(KEEP, 1, key, ttl, isRenewed ? 1 : 0);
}

/** In one: a program that ends, or is killed, in the middle would leave a stream that never expires. */
const KEEP = `
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('XDEL', KEYS[1], redis.call('XADD', KEYS[1], '*', 'begin', '1'))
elseif ARGV[2] == '0' then
  return
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
`;

export function fieldsOf(list: readonly string[]): ReportFields {
  const fields: Record<string, string> = {};
  for (let at = 0; at + 1 < list.length; at += 2) fields[list[at]!] = list[at + 1]!;
  return fields;
}
