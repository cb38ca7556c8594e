/**
 * Turns the items of a call into tasks: pulls them only when a slot has room for them, checks them, and awaits
 * `onStart`. Items of a synchronous iterable without `onStart` are returned at once. All others are pulled in the
 * background, and returned by a later `take`.
 */
import { own } from "../errors.js";
import type { ItemFormat } from "../options.js";
import { describe } from "../system/describe.js";
import { setImmediate } from "../system/timers.js";
import { checkItem, isBrief } from "../wire/items.js";
import { type Batch, FreshItems, freshTask, type Task, tasksOf } from "../wire/task.js";
import type { CallerContext } from "./caller-context.js";

export interface FeedEvents {
  /** How items travel. */
  readonly format: ItemFormat;
  /** Returns who decides which tasks have to run, unless all have to. */
  readonly admitter: () => Admitter | undefined;
  /** Awaited before a task may start. */
  readonly onStart: ((task: Task) => Promise<unknown>) | undefined;
  /** How many more may be pulled now. */
  readonly mayPull: () => number;
  /** Called when `take` can return more than before, or when no item will come any more. */
  readonly onMore: () => void;
  /** Called when the iterator throws, an item is invalid, or the admitter or `onStart` fails. */
  readonly onError: (error: unknown) => void;
}

interface Admitter {
  /** Returns the task if it has to run; `undefined` if its result is known or will be. */
  admit(task: Task): Task | undefined;
}

export class Feed {
  #iterator: Iterator<unknown> | AsyncIterator<unknown>;
  readonly #isAsync: boolean;
  readonly #length: number | undefined;
  readonly #events: FeedEvents;
  readonly #context: CallerContext;
  readonly #ready: Task[] = [];
  #pulled = 0;
  #wanted = 0;
  #isFilling = false;
  #isAnnouncing = false;
  /** The iterator is done, or the call needs no more items. */
  #isOver = false;
  #isStopped = false;
  /** The error of the next item; reported once the items before it have been taken. */
  #problem: { readonly error: unknown } | undefined;
  #isPulling = false;
  #interrupt = () => {};

  /** @param context - in which the iterator runs */
  constructor(
    items: Iterable<unknown> | AsyncIterable<unknown>,
    events: FeedEvents,
    context: CallerContext,
  ) {
    this.#context = context;
    this.#iterator = context.run(() => iterate(items));
    this.#isAsync = Symbol.asyncIterator in items;
    this.#length = knownLength(items);
    this.#events = events;
  }

  /** No item will come any more. */
  get isOver(): boolean {
    if (this.#isStopped) return true;
    return this.#isOver && this.#ready.length === 0 && !this.#isFilling && !this.#problem;
  }

  /** Items pulled so far. */
  get pulled(): number {
    return this.#pulled;
  }

  /** How many items are left, if known. */
  get remaining(): number | undefined {
    return this.#length === undefined ? undefined : Math.max(0, this.#length - this.#pulled);
  }

  /**
   * Returns up to `limit` items.
   *
   * @param isAlone - whether no other tasks run before these, so that an error of the next item need not wait for them
   */
  take(limit: number, isAlone: boolean): Batch {
    if (this.#isStopped) return [];
    if (!this.#isAsync && !this.#events.onStart) {
      return this.#context.run(() => this.#takeNow(limit, isAlone));
    }
    const tasks = this.#ready.splice(0, limit);
    if (tasks.length < limit && !this.#isOver && this.#events.mayPull() > 0) {
      void this.#context.run(() => this.#fill(limit - tasks.length));
    }
    return tasks;
  }

  /** Pulls no more items and returns no more tasks. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#interrupt();
    this.finish();
    // The iterator may keep everything alive that its generator refers to.
    this.#iterator = [].values();
  }

  /** Pulls no more items, and lets the iterable clean up; items already pulled are still returned. */
  finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#isPulling) this.#interrupt();
    // Not awaited: an async generator pending in `next` handles `return` only after that, if ever.
    void this.#context.run(() => close(this.#iterator));
  }

  #takeNow(limit: number, isAlone: boolean): Batch {
    if (this.#problem) return this.#tellProblem(this.#problem);
    const first = this.#pulled;
    const isSelective = this.#events.admitter() !== undefined;
    const tasks: Task[] = [];
    const items: unknown[] = [];
    let areBrief = true;
    try {
      let allowed = 0;
      while (tasks.length + items.length < limit && !this.#isOver) {
        // Counted down here: to call `mayPull` for each item would cost as much as pulling it. After it has returned 0,
        // its owner dispatches again once more may be pulled.
        if (allowed <= 0) allowed = this.#events.mayPull();
        if (allowed <= 0) break;
        allowed -= 1;
        const next = this.#pull() as IteratorResult<unknown>;
        if (isSelective) {
          const task = this.#admit(next);
          if (task) tasks.push(task);
        } else if (!this.#isEnd(next)) {
          const item = this.#checked(next.value);
          items.push(item);
          areBrief &&= isBrief(item);
        }
      }
    } catch (error) {
      this.#problem = { error };
    }
    const fresh = new FreshItems(first, items);
    const batch = isSelective ? tasks : areBrief ? fresh : tasksOf(fresh);
    // The items before the error run first.
    if (this.#problem && isAlone && batch.length === 0) return this.#tellProblem(this.#problem);
    return batch;
  }

  #tellProblem({ error }: { readonly error: unknown }): Batch {
    this.#problem = undefined;
    this.#events.onError(error);
    return [];
  }

  async #fill(wanted: number): Promise<void> {
    this.#wanted = Math.max(this.#wanted, wanted);
    if (this.#isFilling) return;
    this.#isFilling = true;
    try {
      while (this.#ready.length < this.#wanted && !this.#isOver && this.#events.mayPull() > 0) {
        this.#isPulling = this.#isAsync;
        const next = this.#isAsync
          ? await this.#unlessStopped(this.#pull() as Promise<IteratorResult<unknown>>)
          : (this.#pull() as IteratorResult<unknown>);
        this.#isPulling = false;
        if (!next || this.#isStopped) break;
        const task = this.#admit(next);
        if (!task) continue;
        if (this.#events.onStart) await this.#unlessStopped(this.#events.onStart(task));
        if (this.#isStopped) break;
        this.#ready.push(task);
        if (this.#ready.length < this.#wanted) this.#announceSoon();
      }
    } catch (error) {
      this.#events.onError(error);
    }
    this.#isFilling = false;
    this.#wanted = 0;
    this.#events.onMore();
  }

  /** Batches items that come at once; ready items do not wait for one that takes longer. */
  #announceSoon(): void {
    if (this.#isAnnouncing) return;
    this.#isAnnouncing = true;
    setImmediate(() => {
      this.#isAnnouncing = false;
      this.#events.onMore();
    });
  }

  /** Pulls the next item. An iterator that throws is finished. */
  #pull(): IteratorResult<unknown> | Promise<IteratorResult<unknown>> {
    try {
      const next = this.#iterator.next();
      if (!this.#isAsync) return next;
      return Promise.resolve(next).catch((error: unknown) => {
        this.#isOver = true;
        throw error;
      });
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  #admit(next: IteratorResult<unknown>): Task | undefined {
    if (this.#isEnd(next)) return undefined;
    const item = this.#checked(next.value);
    const task = freshTask(this.#pulled - 1, item);
    const admitter = this.#events.admitter();
    return admitter ? admitter.admit(task) : task;
  }

  #isEnd({ done }: IteratorResult<unknown>): boolean {
    if (done) this.#isOver = true;
    return Boolean(done);
  }

  /** Counts the item and returns it. @throws TypeError when it cannot travel */
  #checked(item: unknown): unknown {
    this.#pulled += 1;
    checkItem(item, this.#pulled - 1, this.#events.format);
    return item;
  }

  /** Settles as `promise` does, or resolves with `undefined` once the feed is stopped: the source may never answer. */
  #unlessStopped<T>(promise: PromiseLike<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#interrupt = () => resolve(undefined);
      promise.then(resolve, reject);
    });
  }
}

async function close(iterator: Iterator<unknown> | AsyncIterator<unknown>): Promise<void> {
  try {
    await iterator.return?.();
  } catch {
    // The caller gets the reason why the call ended, not an error of its cleanup.
  }
}

/**
 * Returns an iterator over the items.
 *
 * @throws TypeError when `items` is not iterable
 */
function iterate<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
): Iterator<Item> | AsyncIterator<Item> {
  if (Array.isArray(items)) return overArray(items as Item[]);
  if (typeof items === "object" && items !== null) {
    if (Symbol.asyncIterator in items) return items[Symbol.asyncIterator]();
    if (Symbol.iterator in items) return items[Symbol.iterator]();
  }
  throw own(
    new TypeError(
      `Expected \`items\` to be an Iterable or AsyncIterable such as an array, got ${describe(items)}`,
    ),
  );
}

/**
 * Replaces an array's own iterator, which V8 does not inline where other iterators also occur. For a call's internal
 * use only, as `next` returns the same object each time.
 */
function overArray<Item>(items: readonly Item[]): Iterator<Item> {
  const step = { done: false, value: undefined as Item };
  let at = 0;
  return {
    next() {
      if (at >= items.length) return { done: true, value: undefined };
      step.value = items[at]!;
      at += 1;
      return step as IteratorYieldResult<Item>;
    },
  };
}

/** Returns how many items there are, if the collection has a length; it may still change. */
function knownLength(items: object): number | undefined {
  if (Array.isArray(items)) return items.length;
  if (items instanceof Set || items instanceof Map) return items.size;
  return ArrayBuffer.isView(items) ? (items as Uint8Array).length : undefined;
}
