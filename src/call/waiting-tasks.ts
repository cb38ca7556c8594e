/**
 * The tasks of a call that wait: for a slot, after they were given back; or for the end of a pause, before a retry or
 * because they were throttled. The scheduler decides which tasks are retried.
 */
import type { ResolvedOptions } from "../options.js";
import { clearTimeout, setTimeout } from "../system/timers.js";
import { type Batch, type Task, tasksOf } from "../wire/task.js";
import { backoffAfter } from "../system/backoff.js";

export class WaitingTasks {
  readonly #retryDelay: ResolvedOptions["retryDelay"];
  readonly #onMore: () => void;
  readonly #next: Task[] = [];
  readonly #pausing = new Map<Task, NodeJS.Timeout>();

  /** @param onMore - called when a pause is over */
  constructor(retryDelay: ResolvedOptions["retryDelay"], onMore: () => void) {
    this.#retryDelay = retryDelay;
    this.#onMore = onMore;
  }

  /** How many tasks wait only for a slot. */
  get size(): number {
    return this.#next.length;
  }

  take(limit: number): Task[] {
    return this.#next.length > 0 ? this.#next.splice(0, limit) : [];
  }

  /** Puts tasks back before all others. */
  putBack(batch: Batch): void {
    this.#next.unshift(...tasksOf(batch));
  }

  /** Starts the next attempt after the pause of a retry. */
  retry(task: Task): void {
    this.#pause(task, backoffAfter(task.attempt, this.#retryDelay), () => (task.attempt += 1));
  }

  /** Repeats the same attempt after `ms`. */
  throttle(task: Task, ms: number): void {
    this.#pause(task, ms);
  }

  #pause(task: Task, ms: number, onOver?: () => void): void {
    const timer = setTimeout(() => {
      this.#pausing.delete(task);
      onOver?.();
      this.#next.push(task);
      this.#onMore();
    }, ms);
    this.#pausing.set(task, timer);
  }

  /** Removes and returns all tasks; cancels the pauses. */
  drain(): Task[] {
    const tasks = [...this.#next.splice(0), ...this.#pausing.keys()];
    for (const timer of this.#pausing.values()) clearTimeout(timer);
    this.#pausing.clear();
    return tasks;
  }
}
