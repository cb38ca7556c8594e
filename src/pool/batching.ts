/**
 * Decides how many tasks of a call a slot is given at once: as many as make a few ms of work. With fewer, the lines cost more
 * than the items; with more, one slot could hold work while other slots are free. Also decides whether a slot is given
 * tasks ahead of those that it runs.
 */
import type { ResolvedOptions } from "../options.js";

/**
 * A batch takes at most a slot's share of the remaining items divided by this, so that all slots end at about one time.
 */
const SHARES_LEFT = 2;
/**
 * Less work is not divided: it would be done before another slot has received its part. Of 100,000 items that do nothing,
 * the last 2,500 took 5 ms of 47 in 40 ever smaller batches.
 */
const LEAST_MS = 0.5;

interface FeedState {
  /** The items that are left; `undefined` if unknown. */
  readonly remaining: number | undefined;
  /** Each item comes by itself, from a caller who awaits its result. */
  readonly arrivesSingly?: boolean;
}

interface PoolFacts {
  /** The number of slots. */
  readonly size: number;
  readonly batchMs?: number | undefined;
  readonly indivisibleMs?: number | undefined;
}

export class Batching {
  readonly #batch: ResolvedOptions["batch"];
  readonly #hasStartHook: boolean;
  readonly #feed: FeedState;
  readonly #waiting: { readonly size: number };
  readonly #pool: PoolFacts;
  readonly #pace: Pace;

  /**
   * @param waiting - the tasks that wait for a slot again
   * @param pace - what is known of how long items take
   */
  constructor(
    { batch, onStart }: ResolvedOptions,
    feed: FeedState,
    waiting: { readonly size: number },
    pool: PoolFacts,
    pace = new Pace(),
  ) {
    this.#pace = pace;
    this.#batch = batch;
    this.#hasStartHook = onStart !== undefined;
    this.#feed = feed;
    this.#waiting = waiting;
    this.#pool = pool;
  }

  /** Items per line. */
  get size(): number {
    if (this.#batch !== "auto") return this.#batch;
    const remaining = (this.#feed.remaining ?? Infinity) + this.#waiting.size;
    const share = remaining / (this.#pool.size * SHARES_LEFT);
    const least = (this.#pool.indivisibleMs ?? LEAST_MS) / this.#pace.msPerItem;
    return Math.max(1, Math.min(this.#pace.size, Math.ceil(Math.max(share, least))));
  }

  /**
   * How many items a child may hold that it has not begun, before they are taken back. Where items come from many callers, they
   * are served in the order in which they came: a child that holds more than two batches of what it does in a few ms, because
   * its items have become slower, would keep them from slots that are free earlier.
   */
  get mostAhead(): number {
    if (!this.#feed.arrivesSingly || this.#batch !== "auto") return Infinity;
    return 2 * this.#pace.size;
  }

  /**
   * Whether a child may receive a line while it runs another. Not where the user would notice: `onStart` announces
   * items that start, a generator must not run ahead of its results (except by a batch, a few ms of work), and
   * `batch: 1` asks for one item at a time.
   */
  get sendsAhead(): boolean {
    if (this.#batch === 1 || this.#hasStartHook) return false;
    // A single item that takes long must not wait in a slot while it might run in the next free one.
    if (this.#feed.arrivesSingly) return this.#pace.size > 1;
    return this.size > 1 || this.#feed.remaining !== undefined;
  }

  /** Whether a busy slot may queue a batch ahead in this process: no hook and no generator observes it. */
  get takesAhead(): boolean {
    return !this.#hasStartHook && !this.#feed.arrivesSingly && this.#feed.remaining !== undefined;
  }

  /** How long a recent item took its slot; 0 until known. */
  get msPerItem(): number {
    return this.#pace.msPerItem;
  }

  /** @param bytes - of the results of these items, and of the items that were too long for a line */
  note(count: number, ms: number, bytes: number): void {
    this.#pace.note(count, ms, bytes, this.#pool.batchMs);
  }
}

/** Longer than it takes to send the next batch, so that a child has it before the current one is done. */
const TARGET_MS = 16;
/** Half of the items whose times fit into a slot's ledger, so that a batch can be on its way while another runs. */
export const MAX_BATCH = 2048;
/** The results of a batch may take this much of the ledger's text; its long results and items, this much of files. */
const TARGET_BYTES = 128 * 1024;
/** The growth from batch to batch: a program's first items often differ from the others (cold code, or a hot cache). */
const MAX_GROWTH = 8;

export class Pace {
  #size = 1;
  #msPerItem = 0;

  get size(): number {
    return this.#size;
  }

  /** Average of the last batch; 0 until it is known. */
  get msPerItem(): number {
    return this.#msPerItem;
  }

  /** Notes that `count` items took `ms` and `bytes`. @param targetMs - how many ms a batch should take */
  note(count: number, ms: number, bytes: number, targetMs = TARGET_MS): void {
    this.#msPerItem = ms / count;
    // The clock has a resolution of a microsecond.
    const byTime = (targetMs * count) / Math.max(ms, 0.001);
    const bySize = (TARGET_BYTES * count) / Math.max(bytes, 1);
    const fitting = Math.floor(Math.min(byTime, bySize, MAX_BATCH));
    this.#size = Math.max(1, Math.min(fitting, this.#size * MAX_GROWTH));
  }
}
