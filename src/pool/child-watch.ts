/**
 * Looks after a child in a slot: has it killed when an item of it, or what it owes without one, takes too long; and has it
 * looked at now and then where an item may keep it from telling of those before.
 */
import { Deadline } from "../launch/deadline.js";
import { monotonic } from "../system/monotonic.js";
import type { Task } from "../wire/task.js";
import type { Collector } from "./collector.js";
import type { TaskList } from "./task-list.js";

/** An item may keep its child from telling of those before it: they are looked for so often. */
const LOOK_MS = 20;

export interface Watched {
  readonly tasks: TaskList;
  readonly collector: Collector;
  /** Whether it is ready, and not ending. */
  isServing(): boolean;
  /** Takes in what it has noted so far. */
  look(): void;
  kill(): void;
}

export class ChildWatch {
  readonly #child: Watched;
  #readyAt = 0;
  /** When it was last given tasks while it had none. */
  #handedAt = 0;
  /** In ms, of the call whose tasks it has. */
  #timeout = Infinity;
  #deadline: Deadline | undefined;
  /** When that passes. */
  #lookAt = 0;
  /** When it is, there is no look: the child is killed. */
  #isLast = false;
  /** Since it was idle, it has been given items while it had some, or several at once. */
  #hasMany = false;

  constructor(child: Watched) {
    this.#child = child;
  }

  /** The child can be given items. */
  ready(): void {
    this.#readyAt = monotonic();
    this.begin();
  }

  /** It is given so many, `isFirst` when it had none. */
  handed(count: number, isFirst: boolean, now: number, timeout = Infinity): void {
    this.#timeout = timeout;
    if (isFirst) this.#handedAt = now;
    if (count > 1 || !isFirst) this.#hasMany = true;
  }

  /** From now on: it has items. */
  begin(): void {
    if (this.#child.tasks.size === 0) return;
    this.#lookIn(this.#hasMany ? Math.min(this.#timeout, LOOK_MS) : this.#timeout);
  }

  /** It has no task, and owes nothing. */
  idle(): void {
    // Else it stays, as it is mostly needed again at once: to end it and start another takes longer than a look that finds nothing.
    if (this.#isLast) this.stop();
    this.#hasMany = false;
  }

  /** A child without a task that owes an answer, or its end, has as much time for it as for a task. */
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

  /** Unless it will look sooner. */
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

  /** In ms, until the next item has run for too long; notes those that have. */
  #timeLeft(): number {
    if (this.#timeout === Infinity) return Infinity;
    const { tasks, collector } = this.#child;
    const now = monotonic();
    let least = Infinity;
    const check = (task: Task, since: number) => {
      const left = Math.ceil(since + this.#timeout - now);
      if (left <= 0) collector.timeOut(task);
      least = Math.min(least, left);
    };
    for (const [seq, task] of tasks.upTo(collector.begun()))
      check(task, collector.beginningOf(seq));
    // When none is running the next one should be: something else keeps the child from it.
    const next = least === Infinity && tasks.get(tasks.oldest);
    if (next) check(next, Math.max(this.#readyAt, this.#handedAt, collector.lastDoneAt));
    return least;
  }
}
