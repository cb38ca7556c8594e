/**
 * The items of a call on their way to becoming tasks: pulled when a slot has room for them and no sooner, checked, and
 * announced by `onStart`. What can be had at once is; what must be waited for is asked for and given when it is asked
 * for again.
 */
import type { CallerContext } from "./caller-context.js";
import { checkItem } from "../wire/items.js";
import { iterate, knownLength } from "./iterate.js";
import type { Task } from "../wire/task.js";
import { setImmediate } from "../system/timers.js";

/** An array grows by so many elements at first. */
const SHORT = 16;

export interface FeedEvents {
  /** Returns the task if it has to run; `undefined` if its result is known or will be. */
  admit(task: Task): Task | undefined;
  /** Awaited before a task may start. */
  readonly onStart: ((task: Task) => Promise<unknown>) | undefined;
  /** How many more may be pulled now. */
  readonly mayPull: () => number;
  /** There is more now than when it was last asked for, or nothing will ever be. */
  readonly onMore: () => void;
  /** Items cannot be had, or one is not to be had. */
  readonly onError: (error: unknown) => void;
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
  #isTelling = false;
  /** The iterator has no more, or none that anybody wants. */
  #isOver = false;
  #isStopped = false;
  /** Of the next item; to be told when that is asked for. */
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

  /** How many are left, where that is known. */
  get remaining(): number | undefined {
    return this.#length === undefined ? undefined : Math.max(0, this.#length - this.#pulled);
  }

  /** Adds up to `limit` tasks to `tasks`. */
  take(limit: number, tasks: Task[]): void {
    if (this.#isStopped) return;
    if (!this.#isAsync && !this.#events.onStart) {
      return this.#context.run(() => this.#takeNow(limit, tasks));
    }
    tasks.push(...this.#ready.splice(0, limit - tasks.length));
    if (tasks.length < limit && !this.#isOver && this.#events.mayPull() > 0) {
      void this.#context.run(() => this.#fill(limit - tasks.length));
    }
  }

  /** Pulls no more and gives nothing any more. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#interrupt();
    this.finish();
    // It may hold all that its maker does.
    this.#iterator = [].values();
  }

  /** Pulls no more, and lets the iterable clean up; what has been pulled is still given. */
  finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#isPulling) this.#interrupt();
    // Not awaited: a generator that still waits inside `next` would answer after that, if ever.
    void this.#context.run(() => close(this.#iterator));
  }

  #takeNow(limit: number, tasks: Task[]): void {
    if (this.#problem) return this.#tellProblem(this.#problem);
    if (this.#isOver) return;
    let count = tasks.length;
    // All at once: an array that grows is copied again and again. A short one costs less than this.
    if (limit > SHORT) tasks.length = limit;
    try {
      let allowed = 0;
      while (count < limit && !this.#isOver) {
        // Counted down here: asking each time would cost as much as pulling. Whoever says no will call when it is yes again.
        if (allowed <= 0) allowed = this.#events.mayPull();
        if (allowed <= 0) break;
        const next = this.#pull() as IteratorResult<unknown>;
        const task = this.#admit(next);
        if (task) {
          tasks[count] = task;
          count += 1;
        }
        allowed -= 1;
      }
    } catch (error) {
      this.#problem = { error };
    }
    if (limit > SHORT) tasks.length = count;
    // Those that came before it are run first.
    if (this.#problem && count === 0) this.#tellProblem(this.#problem);
  }

  #tellProblem({ error }: { readonly error: unknown }): void {
    this.#problem = undefined;
    this.#events.onError(error);
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
        if (this.#ready.length < this.#wanted) this.#tellSoon();
      }
    } catch (error) {
      this.#events.onError(error);
    }
    this.#isFilling = false;
    this.#wanted = 0;
    this.#events.onMore();
  }

  /** Those that come at once go together; nobody waits for one that takes its time. */
  #tellSoon(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    setImmediate(() => {
      this.#isTelling = false;
      this.#events.onMore();
    });
  }

  /** An iterator that throws is finished by that. */
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
    if (next.done) {
      this.#isOver = true;
      return undefined;
    }
    const index = this.#pulled;
    this.#pulled += 1;
    checkItem(next.value, index);
    return this.#events.admit({ index, item: next.value, attempt: 1 });
  }

  /** What `promise` gives, or `undefined` as soon as the feed is stopped: a source of items may never answer. */
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
    // What ended the call is told, not what came of it.
  }
}
