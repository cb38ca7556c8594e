/**
 * The timers of a child in a slot. Kills the child when an item takes too long, or when the child has no item but owes
 * an answer or its end for too long. Polls the ledger while an item may keep the child from reporting earlier ones.
 */
import { Deadline } from "../launch/deadline.js";
import { monotonic } from "../system/monotonic.js";
import { type Batch, FreshItems, type Task } from "../wire/task.js";
import type { Collector } from "./collector.js";
import type { TaskList } from "./task-list.js";
import type { TaskOwner } from "./task-owner.js";

/** An item that blocks the event loop keeps its child from reporting earlier items: the ledger is polled this often. */
const LOOK_MS = 20;

export interface Watched {
  readonly tasks: TaskList;
  readonly collector: Collector;
  /** Whether the child is ready and not ending. */
  isServing(): boolean;
  /** Collects what the child has recorded in the ledger so far. */
  look(): void;
  timeoutOf(task: Task): number | undefined;
  kill(): void;
}

export class ChildWatch {
  readonly #child: Watched;
  #readyAt = 0;
  /** When the child was last given tasks while it had none. */
  #handedAt = 0;
  /** The shortest timeout of the tasks that the child has had since it was last idle, in ms. */
  #timeout = Infinity;
  #deadline: Deadline | undefined;
  /** When `#deadline` fires. */
  #lookAt = 0;
  /** When `#deadline` fires, the child is killed at once, without a look. */
  #isLast = false;
  /** Since it was last idle, the child has had several items at a time: an item may block the report of another. */
  #hasMany = false;

  constructor(child: Watched) {
    this.#child = child;
  }

  /** The child is ready: it runs items from now on. */
  ready(): void {
    this.#readyAt = monotonic();
    this.begin();
  }

  /** The child was given tasks; `isFirst` if it had none. */
  handed(batch: Batch, isFirst: boolean, now: number, owner: TaskOwner): void {
    if (isFirst) {
      this.#handedAt = now;
      this.#timeout = Infinity;
    }
    this.#timeout = Math.min(this.#timeout, shortestTimeout(batch, owner));
    if (batch.length > 1 || !isFirst) this.#hasMany = true;
  }

  /** Starts to watch the child's items, if it has any. */
  begin(): void {
    if (this.#child.tasks.size === 0) return;
    this.#lookIn(this.#hasMany ? Math.min(this.#timeout, LOOK_MS) : this.#timeout);
  }

  /** The child has no task and owes nothing. */
  idle(): void {
    // A deadline for a look stays, as it is usually needed again at once: to clear it and set another takes longer than
    // a look that finds nothing.
    if (this.#isLast) this.stop();
    this.#hasMany = false;
  }

  /** A child that has no task but owes an answer, or its end, has as much time as for a task. */
  allowTime(): void {
    this.stop();
    if (this.#timeout === Infinity) return;
    this.#deadline = new Deadline(this.#timeout, () => this.#child.kill());
    this.#isLast = true;
  }

  stop(): void {
    this.#deadline?.clear();
    this.#deadline = undefined;
    this.#isLast = false;
  }

  /** Sets the deadline for the next look, unless an earlier one is set. */
  #lookIn(ms: number): void {
    if (ms === Infinity) return;
    const at = monotonic() + ms;
    if (this.#isLast) return;
    if (this.#deadline && this.#lookAt <= at) return;
    this.#deadline?.clear();
    this.#lookAt = at;
    this.#deadline = new Deadline(ms, () => this.#look());
  }

  #look(): void {
    this.#deadline = undefined;
    this.#child.look();
    if (this.#child.tasks.size === 0 || !this.#child.isServing()) return;
    const timeLeft = this.#timeLeft();
    if (timeLeft <= 0) this.#child.kill();
    else this.#lookIn(this.#hasMany ? Math.min(timeLeft, LOOK_MS) : timeLeft);
  }

  /** Returns the ms until the first running item reaches its timeout; reports items that have reached it. */
  #timeLeft(): number {
    if (this.#timeout === Infinity) return Infinity;
    const { tasks, collector } = this.#child;
    const now = monotonic();
    let least = Infinity;
    const check = (task: Task, since: number) => {
      const { timeoutOf } = this.#child;
      const left = Math.ceil(since + (timeoutOf(task) ?? Infinity) - now);
      if (left <= 0) collector.timeOut(task);
      least = Math.min(least, left);
    };
    for (const [seq, task] of tasks.upTo(collector.begun()))
      check(task, collector.beginningOf(seq));
    // If no item is running, the next one should be: something blocks the child, and that time counts as the item's.
    const next = least === Infinity && tasks.get(tasks.oldest);
    if (next) check(next, Math.max(this.#readyAt, this.#handedAt, collector.lastDoneAt));
    return least;
  }
}

function shortestTimeout(batch: Batch, owner: TaskOwner): number {
  if (batch instanceof FreshItems) return owner.optionsOf().timeout ?? Infinity;
  let least = Infinity;
  for (const task of batch) least = Math.min(least, owner.optionsOf(task).timeout ?? Infinity);
  return least;
}
