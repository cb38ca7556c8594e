/** Which machines serve a queue: each renews its record in the set `machines`, and one that falls silent drops out by the server's clock. */
import type { Redis } from "ioredis";
import { parse, stringify } from "../../system/json.js";
import { clearInterval, setInterval } from "../../system/timers.js";
import type { Keys, MachineRecord } from "./keys.js";

/** Returns the machines that serve a queue now, by the server's clock. */
export async function listMachines(client: Redis, keys: Keys): Promise<MachineRecord[]> {
  const members = (await client.eval(LIST, 1, keys.machines)) as string[];
  return members.map((member) => parse(member) as MachineRecord);
}

/** The record of this machine in the sets of its queues. */
export class MachineEntry {
  readonly #client: Redis;
  readonly #keys: readonly Keys[];
  readonly #member: string;
  readonly #crashTimeout: number;
  readonly #beat = () => this.#renew();
  #timer: NodeJS.Timeout | undefined;

  /** @param crashTimeout - how long the machine is listed after its last sign of life, in ms */
  constructor(client: Redis, keys: readonly Keys[], record: MachineRecord, crashTimeout: number) {
    this.#client = client;
    this.#keys = keys;
    this.#member = stringify(record);
    this.#crashTimeout = crashTimeout;
  }

  /** Resolves once the machine is listed. */
  async enter(): Promise<void> {
    await Promise.all(this.#keys.map((keys) => this.#enter(keys)));
    this.#timer = setInterval(this.#beat, this.#crashTimeout / 3);
    this.#client.on("ready", this.#beat);
  }

  /** Takes the machine off the lists, at once or when the server is back. Idempotent. */
  leave(): void {
    if (!this.#timer) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#client.off("ready", this.#beat);
    for (const { machines } of this.#keys) {
      // Should it not get through, the record expires.
      this.#client.zrem(machines, this.#member).catch(() => {});
    }
  }

  #renew(): void {
    // Renewals would pile up while the server is away.
    if (this.#client.status !== "ready") return;
    for (const keys of this.#keys) this.#enter(keys).catch(() => {});
  }

  async #enter({ machines }: Keys): Promise<void> {
    await this.#client.eval(ENTER, 1, machines, this.#member, this.#crashTimeout);
  }
}

const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

const LIST = `${NOW}
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
`;

/** The set expires with its last machine, so that nothing stays of a queue that nobody serves. */
const ENTER = `${NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
`;
