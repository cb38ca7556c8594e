/**
 * A run with a name, which a later program can continue: what is known of its items from the reports of its stream, which batches are
 * under way, and the lease that lets one program at a time continue it.
 *
 * Each batch is recorded before its job is added, so that no machine can have a job of which nothing is known.
 */
import type { Redis } from "ioredis";
import { EngineError } from "../../errors.js";
import { itemKey } from "../../journal/item-key.js";
import type { ItemFormat } from "../../options.js";
import type { ItemOutcome } from "../../pool/engine.js";
import { parse, stringify } from "../../system/json.js";
import { monotonic } from "../../system/monotonic.js";
import { ownerMark, ownerOf } from "../../system/owner.js";
import { setTimeout } from "../../system/timers.js";
import { type Batch, type Task, tasksOf } from "../../wire/task.js";
import { readReport } from "../batch-record.js";
import type { Keys } from "./keys.js";
import { fieldsOf, keepStream } from "./report-reader.js";

/** What is in a batch: the positions of its items and a fingerprint of each. */
interface BatchFacts {
  readonly indexes: readonly number[];
  readonly prints: readonly string[];
  /** The call dropped the results. */
  readonly drops?: true | undefined;
}

interface Known {
  readonly print: string;
  readonly outcome: ItemOutcome;
}

/** An item that is in a job which an earlier program has added. */
export interface Adopted {
  readonly print: string;
  readonly job: string;
  readonly place: number;
}

export interface NamedRunOptions {
  readonly worker: string;
  readonly format: ItemFormat;
  readonly crashTimeout: number;
  readonly keepRun: number;
  readonly wantsResults: boolean;
  /** Aborted when the run is not wanted any more. */
  readonly signal: AbortSignal;
}

/** Entries read at once. */
const PAGE = 100;
/** How often a lease of a program on another machine is looked at. */
const LOOK_MS = 250;
/** Field of the hash of batches; no id of a job. */
const WORKER = "worker";
/** Enough characters of a SHA-256 to tell a changed item: 48 bits. */
const PRINT_LENGTH = 8;

export class NamedRun {
  readonly name: string;
  readonly stream: string;
  /** Id of the last entry read. */
  lastId = "0";
  readonly #client: Redis;
  readonly #keys: Keys;
  readonly #options: NamedRunOptions;
  readonly #mark = ownerMark();
  readonly #known = new Map<number, Known>();
  readonly #adopted = new Map<number, Adopted>();
  /** How many items each of those jobs has. */
  readonly #sizes = new Map<string, number>();

  /** Waits until no other program continues the run. @throws EngineError if one goes on doing so */
  static async open(
    client: Redis,
    keys: Keys,
    name: string,
    options: NamedRunOptions,
  ): Promise<NamedRun> {
    const run = new NamedRun(client, keys, name, options);
    await run.#lease();
    try {
      await run.#load();
      options.signal.throwIfAborted();
      return run;
    } catch (error) {
      await run.#leave();
      throw error;
    }
  }

  private constructor(client: Redis, keys: Keys, name: string, options: NamedRunOptions) {
    this.name = name;
    this.stream = keys.reports(name);
    this.#client = client;
    this.#keys = keys;
    this.#options = options;
  }

  /** Whether nothing of an earlier program is left to be found. */
  get isFresh(): boolean {
    return this.#known.size === 0 && this.#adopted.size === 0;
  }

  /** Ids and sizes of the jobs that an earlier program has added and that have no report. */
  get adoptedJobs(): ReadonlyMap<string, number> {
    return this.#sizes;
  }

  /**
   * Returns what an earlier program has found out about an item, or the job in which it is.
   *
   * @throws EngineError if it was another item
   */
  find(task: Task): ItemOutcome | Adopted | undefined {
    const { index } = task;
    const found = this.#known.get(index) ?? this.#adopted.get(index);
    if (!found) return undefined;
    const print = this.#print(task);
    if (found.print !== print) {
      throw new EngineError(
        `The run ${this.name} was begun with other items: item ${index} has changed. Make the call with the same items, or name another run`,
        "changed",
      );
    }
    // A retry of the item runs anew.
    this.#known.delete(index);
    this.#adopted.delete(index);
    return "outcome" in found ? found.outcome : found;
  }

  /** The job of an earlier program has been reported, or is lost; its items that nobody has asked for yet become known, or run anew. */
  closeJob(job: string, outcomes: readonly ItemOutcome[] | undefined): void {
    this.#sizes.delete(job);
    for (const [index, { job: id, place, print }] of this.#adopted) {
      if (id !== job) continue;
      this.#adopted.delete(index);
      const outcome = outcomes?.[place];
      if (outcome && "result" in outcome) this.#known.set(index, { print, outcome });
    }
  }

  /** Records what is in a job. */
  async record(job: string, batch: Batch): Promise<void> {
    const tasks = tasksOf(batch);
    const facts: BatchFacts = {
      indexes: tasks.map(({ index }) => index),
      prints: tasks.map((task) => this.#print(task)),
      drops: this.#options.wantsResults ? undefined : true,
    };
    await this.#client.hset(this.#keys.batches(this.name), job, stringify(facts));
  }

  /** The job was taken back before a machine had it: the next program need not look for it. */
  forget(job: string): void {
    this.#client.hdel(this.#keys.batches(this.name), job).catch(() => {});
  }

  /** Returns whether this program still continues the run; renews everything that expires. */
  async renew(): Promise<boolean> {
    const { crashTimeout, keepRun } = this.#options;
    const lease = this.#keys.lease(this.name);
    const isOurs = await this.#client.eval(RENEW, 1, lease, this.#mark, crashTimeout);
    if (isOurs !== 1) return false;
    await this.#client
      .multi()
      .pexpire(this.stream, keepRun)
      .pexpire(this.#keys.batches(this.name), keepRun)
      .exec();
    return true;
  }

  /** @param isComplete - whether nothing is left to be continued: then nothing of the run is kept */
  async close(isComplete: boolean): Promise<void> {
    const batches = this.#keys.batches(this.name);
    if (isComplete) {
      const keys = [this.#keys.lease(this.name), this.stream, batches];
      await this.#client.eval(END, keys.length, ...keys, this.#mark);
    } else {
      await this.renew();
      await this.#leave();
    }
  }

  async #leave(): Promise<void> {
    await this.#client.eval(END, 1, this.#keys.lease(this.name), this.#mark);
  }

  async #lease(): Promise<void> {
    const key = this.#keys.lease(this.name);
    const { crashTimeout, signal } = this.#options;
    const deadline = monotonic() + crashTimeout * 1.5;
    for (;;) {
      signal.throwIfAborted();
      const isOurs = await this.#client.set(key, this.#mark, "PX", crashTimeout, "NX");
      if (isOurs) return;
      const other = (await this.#client.get(key)) ?? "";
      const owner = ownerOf(other);
      // A program of this machine that was killed.
      if (owner?.state === "gone") await this.#client.eval(END, 1, key, other);
      else if (owner?.state === "alive" || monotonic() > deadline) throw this.#busy(owner?.pid);
      else await new Promise<void>((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  #ofOther(worker: string): EngineError {
    const what = `The run ${this.name} is one of ${worker}, and not of ${this.#options.worker}: name another run`;
    return new EngineError(what, "changed");
  }

  #busy(pid: number | undefined): EngineError {
    const who = pid === undefined ? "another program" : `the program with pid ${pid}`;
    return new EngineError(
      `The run ${this.name} is being continued by ${who}: wait until that has ended, or name another run`,
      "busy",
    );
  }

  async #load(): Promise<void> {
    const { keepRun, wantsResults } = this.#options;
    const batches = this.#keys.batches(this.name);
    if (!(await this.#client.exists(this.stream))) {
      // What is under way of a run whose stream has expired is not reported any more.
      await this.#client.del(batches);
      await keepStream(this.#client, this.stream, keepRun, true);
    }
    const { [WORKER]: worker, ...records } = await this.#client.hgetall(batches);
    if (worker === undefined) {
      const named = this.#client.multi().hset(batches, WORKER, this.#options.worker);
      await named.pexpire(batches, keepRun).exec();
    } else if (worker !== this.#options.worker) throw this.#ofOther(worker);
    const facts = new Map<string, BatchFacts>();
    for (const [job, text] of Object.entries(records)) {
      const batch = parse(text) as BatchFacts;
      // Without results, they are of no use to a call that wants them.
      if (!wantsResults || !batch.drops) facts.set(job, batch);
    }
    await this.#readReports(facts);
    for (const [job, { indexes, prints }] of facts) {
      this.#sizes.set(job, indexes.length);
      for (const [place, index] of indexes.entries()) {
        this.#adopted.set(index, { job, place, print: prints[place]! });
      }
    }
    // The last attempt at an item is the one that counts.
    for (const index of this.#known.keys()) this.#adopted.delete(index);
  }

  /** Removes from `facts` the batches that have been reported. */
  async #readReports(facts: Map<string, BatchFacts>): Promise<void> {
    for (;;) {
      const entries = await this.#client.xrange(this.stream, `(${this.lastId}`, "+", "COUNT", PAGE);
      for (const [id, list] of entries) {
        this.lastId = id;
        const { job = "", report } = fieldsOf(list);
        const batch = facts.get(job);
        if (!batch) continue;
        facts.delete(job);
        if (report !== undefined) this.#learn(batch, report);
      }
      if (entries.length < PAGE) return;
    }
  }

  #learn({ indexes, prints }: BatchFacts, report: string): void {
    const { outcomes } = readReport(report, indexes.length);
    for (const [place, outcome] of outcomes.entries()) {
      // What failed is run again, as with a journal.
      if (!("result" in outcome)) continue;
      this.#known.set(indexes[place]!, { print: prints[place]!, outcome });
    }
  }

  #print({ item }: Task): string {
    return itemKey(item, this.#options.format).slice(0, PRINT_LENGTH);
  }
}

/** Renews a lease that nobody else has taken. */
const RENEW = `local mark = redis.call("GET", KEYS[1])
if not mark then
  redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
  return 1
end
if mark ~= ARGV[1] then return 0 end
return redis.call("PEXPIRE", KEYS[1], ARGV[2])`;

/** Removes the keys of a run if its lease, the first of them, is ours. */
const END = `if redis.call("GET", KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call("DEL", unpack(KEYS))`;
