/** How many tasks of a call a slot is given at once, and whether it is given some ahead of those that it runs. */
import type { ResolvedOptions } from "../options.js";
import { Pace } from "./pace.js";

/**
 * A batch takes at most a slot's share of the remaining items divided by this, so that all slots end at about one time.
 */
const SHARES_LEFT = 2;

export class Batching {
  readonly #batch: ResolvedOptions["batch"];
  readonly #hasStartHook: boolean;
  readonly #feed: { readonly remaining: number | undefined };
  readonly #waiting: { readonly size: number };
  readonly #pool: { readonly size: number };
  readonly #pace = new Pace();

  /**
   * @param feed - with the items that are left, `undefined` if unknown
   * @param waiting - the tasks that wait for a slot again
   * @param pool - with the number of slots
   */
  constructor(
    { batch, onStart }: ResolvedOptions,
    feed: { readonly remaining: number | undefined },
    waiting: { readonly size: number },
    pool: { readonly size: number },
  ) {
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
    return Math.max(1, Math.min(this.#pace.size, Math.ceil(share)));
  }

  /**
   * Whether a child may receive a line while it runs another. Not where the user would notice: `onStart` announces
   * items that start, a generator must not run ahead of its results (except by a batch, a few ms of work), and
   * `batch: 1` asks for one item at a time.
   */
  get sendsAhead(): boolean {
    if (this.#batch === 1 || this.#hasStartHook) return false;
    return this.size > 1 || this.#feed.remaining !== undefined;
  }

  /** Whether a busy slot may queue a batch ahead in this process: no hook and no generator observes it. */
  get takesAhead(): boolean {
    return !this.#hasStartHook && this.#feed.remaining !== undefined;
  }

  /** How long a recent item took its slot; 0 until known. */
  get msPerItem(): number {
    return this.#pace.msPerItem;
  }

  /** @param bytes - of the results of these items, and of the items that were too long for a line */
  note(count: number, ms: number, bytes: number): void {
    this.#pace.note(count, ms, bytes);
  }
}
