/**
 * The items of one batch that came from elsewhere, each with its own index and attempt, through the pool: what became of each is collected, and
 * nothing is retried here. No item has a promise of its own, as each `run` has.
 */
import type { ResolvedOptions } from "../options.js";
import { Batching, type Pace } from "../pool/batching.js";
import type { ItemOutcome } from "../pool/engine.js";
import type { Pool } from "../pool/pool.js";
import type { TaskOptions, TaskOwner } from "../pool/task-owner.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import { isBrief } from "../wire/items.js";
import {
  type Batch,
  type Failure,
  FreshItems,
  type Run,
  type Runs,
  type Task,
} from "../wire/task.js";

/** What is to be run. */
export interface BatchItems {
  readonly tasks: readonly Task[];
  /** In ms, for each item. */
  readonly timeout: number | undefined;
  readonly wantsResults: boolean;
  /** Whether the outcomes say where each item has run. */
  readonly wantsRuns: boolean;
  /** Ends all items at once: their children are killed. */
  readonly signal: AbortSignal;
  /** With `output: "tag"`. */
  readonly tag?: TaskOptions["tag"];
  /** Called after each outcome with the number of items that have none yet. */
  readonly onLess?: ((open: number) => void) | undefined;
}

/** What all batches of a pool have in common. */
export interface BatchPlace {
  readonly pool: Pool;
  readonly options: ResolvedOptions;
  /** What `process` must return, for errors. */
  readonly expected: string;
  /** How long items take, from batch to batch. */
  readonly pace: Pace;
}

export class BatchRun implements TaskOwner {
  readonly options: ResolvedOptions;
  readonly wantsResults: boolean;
  readonly expected: string;
  readonly endsAtError = false;
  readonly observesChildren = false;
  readonly batching: Batching;
  readonly #items: BatchItems;
  readonly #pool: Pool;
  readonly #taskOptions: TaskOptions;
  /** Index of the first item. */
  readonly #first: number;
  /** Places by index, unless the indexes follow each other. */
  readonly #places: ReadonlyMap<number, number> | undefined;
  /** Whether the items need no tasks of their own. */
  readonly #isFresh: boolean;
  readonly #outcomes: ItemOutcome[] = [];
  /** Given back, or paused before. */
  readonly #waiting: Task[] = [];
  /** Of tasks that were throttled. */
  readonly #pauses = new Set<NodeJS.Timeout>();
  /** Place of the first item that has not been taken. */
  #next = 0;
  #open: number;
  #refusal: { readonly reason: unknown } | undefined;
  #tellOver!: () => void;
  readonly #whenOver = new Promise<void>((resolve) => (this.#tellOver = resolve));

  constructor(items: BatchItems, { pool, options, expected, pace }: BatchPlace) {
    const { tasks, timeout, tag } = items;
    this.#items = items;
    this.#pool = pool;
    this.options = options;
    this.expected = expected;
    this.wantsResults = items.wantsResults;
    this.#taskOptions = { timeout, tag };
    this.#open = tasks.length;
    this.#outcomes.length = tasks.length;
    this.#first = tasks[0]!.index;
    const isRow = tasks.every(({ index }, place) => index === this.#first + place);
    if (!isRow) this.#places = new Map(tasks.map(({ index }, place) => [index, place]));
    this.#isFresh = isRow && tasks.every(({ attempt, item }) => attempt === 1 && isBrief(item));
    const left = (): number => tasks.length - this.#next;
    const waiting = this.#waiting;
    const feed = {
      get remaining() {
        return left();
      },
    };
    this.batching = new Batching(
      options,
      feed,
      {
        get size() {
          return waiting.length;
        },
      },
      pool,
      pace,
    );
  }

  /**
   * Runs the items; resolves once none of them runs any more.
   *
   * @throws the error for which no child can be started; the reason of `signal`
   */
  async run(): Promise<readonly ItemOutcome[]> {
    const { signal } = this.#items;
    signal.throwIfAborted();
    const onAbort = () => this.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#pool.add(this);
    try {
      this.#pool.wants(this);
      this.#pool.dispatch();
      await this.#whenOver;
    } finally {
      signal.removeEventListener("abort", onAbort);
      await this.#pool.remove(this);
    }
    if (this.#refusal) throw this.#refusal.reason;
    return this.#outcomes;
  }

  /** Kills the children that run items of the batch. */
  abort(reason: unknown): void {
    this.#refuse(reason);
    this.#pool.kill(this);
  }

  get mayHaveTasks(): boolean {
    return this.#waiting.length > 0 || this.#next < this.#items.tasks.length;
  }

  take(limit: number): Batch {
    if (this.#waiting.length > 0) return this.#waiting.splice(0, limit);
    const from = this.#next;
    const tasks = this.#items.tasks.slice(from, from + limit);
    this.#next += tasks.length;
    if (!this.#isFresh) return tasks;
    return new FreshItems(
      this.#first + from,
      tasks.map(({ item }) => item),
    );
  }

  within<T>(_task: Task, work: () => T): T {
    return work();
  }

  optionsOf(): TaskOptions {
    return this.#taskOptions;
  }

  freshSucceeded(index: number, _item: unknown, result: unknown, runs: Runs, seq: number): void {
    const run = this.#items.wantsRuns ? runs.runOf(seq) : undefined;
    this.#settle(index, run ? { result, run } : { result });
  }

  succeeded({ index }: Task, result: unknown, runs: Runs, seq: number): void {
    this.freshSucceeded(index, undefined, result, runs, seq);
  }

  failed({ index }: Task, failure: Failure, run: Run): void {
    this.#settle(index, { failure, run });
  }

  throttled(task: Task, ms: number): void {
    if (this.#refusal) return this.#close(1);
    const pause = setTimeout(() => {
      this.#pauses.delete(pause);
      this.#waiting.push(task);
      this.#pool.wants(this);
      this.#pool.dispatch();
    }, ms);
    this.#pauses.add(pause);
  }

  returned(tasks: readonly Task[]): void {
    if (this.#refusal) return this.#close(tasks.length);
    this.#waiting.unshift(...tasks);
    this.#pool.wants(this);
  }

  doomed(error: Error): void {
    this.#refuse(error);
  }

  childEnded(): void {}

  /** Nothing more of it is run. */
  #refuse(reason: unknown): void {
    this.#refusal ??= { reason };
    const { length } = this.#items.tasks;
    const left = this.#waiting.splice(0).length + this.#pauses.size + length - this.#next;
    this.#next = length;
    for (const pause of this.#pauses) clearTimeout(pause);
    this.#pauses.clear();
    this.#close(left);
  }

  #settle(index: number, outcome: ItemOutcome): void {
    this.#outcomes[this.#places?.get(index) ?? index - this.#first] = outcome;
    this.#close(1);
  }

  #close(count: number): void {
    this.#open -= count;
    this.#items.onLess?.(this.#open);
    if (this.#open === 0) this.#tellOver();
  }
}
