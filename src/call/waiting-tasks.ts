/**
 * The tasks of a call that wait: for a slot again after they were given back, or out a pause, before their next attempt or
 * because they were throttled. Owns how long the pause of a retry is; which task gets one is the scheduler's business.
 */
import type { ResolvedOptions } from "../options.js";
import type { Task } from "../wire/task.js";
import { clearTimeout, setTimeout } from "../system/timers.js";

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

  /** How many need only a slot. */
  get size(): number {
    return this.#next.length;
  }

  take(limit: number): Task[] {
    return this.#next.length > 0 ? this.#next.splice(0, limit) : [];
  }

  /** Their turn is before that of all others. */
  putBack(tasks: readonly Task[]): void {
    this.#next.unshift(...tasks);
  }

  /** Makes its next attempt in a while. */
  retry(task: Task): void {
    this.#pause(task, this.#pauseAfter(task.attempt), () => (task.attempt += 1));
  }

  /** Makes the same attempt in so many ms. */
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

  /** Takes all out: none will have its turn. */
  drain(): Task[] {
    const tasks = [...this.#next.splice(0), ...this.#pausing.keys()];
    for (const timer of this.#pausing.values()) clearTimeout(timer);
    this.#pausing.clear();
    return tasks;
  }

  #pauseAfter(attempt: number): number {
    const { min, max, factor } = this.#retryDelay;
    // Half of it random, so that items that failed together do not come back together.
    return Math.min(max, min * factor ** (attempt - 1)) * (0.5 + Math.random() / 2);
  }
}
