/**
 * The items of `run` that wait: how many, for how long, and whether one more may. An item waits until a child begins it, whether
 * it is still here or was sent ahead in a batch.
 */
import { QueueFullError } from "../errors.js";
import { Histogram } from "../observe/histogram.js";
import type { QueueStats } from "../observe/stats.js";
import type { TaskPlace } from "../pool/task-owner.js";
import { monotonic } from "../system/monotonic.js";
import { Drains } from "./drains.js";
import { RunPlaces } from "./run-places.js";
import type { RunPlan } from "./run-plan.js";
import type { RunTask } from "./run-task.js";

export interface BacklogSource {
  /** How many items have not settled and do not pause between two attempts. */
  active(): number;
  /** The first that has no place. */
  first(): RunTask | undefined;
  /** Whether there is a pool that takes tasks at once, if it has room for some. */
  takesTasks(): boolean;
  /** Lets the pool take tasks. */
  dispatch(): void;
}

export class RunBacklog {
  readonly #plan: RunPlan;
  readonly #source: BacklogSource;
  readonly #places: RunPlaces;
  readonly #drains: Drains;
  readonly #waitTime = new Histogram();
  #refused = 0;

  constructor(plan: RunPlan, source: BacklogSource) {
    this.#plan = plan;
    this.#source = source;
    this.#places = new RunPlaces(plan.perPlace);
    this.#drains = new Drains(() => this.#room());
  }

  /** @throws QueueFullError if as many wait as may */
  makeRoom(): void {
    const { maxQueue = Infinity } = this.#plan;
    // More may wait than when its caller was let go: a slot gives back what it has not begun.
    if (this.#drains.take() || this.#waiting < maxQueue) return;
    // Of those that came in this turn of the event loop, some may begin at once.
    this.#source.dispatch();
    if (this.#waiting < maxQueue) return;
    this.#refused += 1;
    throw new QueueFullError(this.#waiting, maxQueue, this.#plan.verb);
  }

  /** Resolves as soon as one more item would not be refused; without `maxQueue`, as soon as none waits. */
  onDrain(): Promise<void> {
    return this.#drains.next();
  }

  /** Fewer may wait than before. */
  shrunk(): void {
    this.#drains.look();
  }

  /** A place is given tasks. */
  enter(place: TaskPlace, tasks: readonly RunTask[]): void {
    const entered = this.#places.enter(place, tasks.length);
    for (const task of tasks) task.place = entered;
  }

  /** A task is not at its place any more. @param start - when it was begun there, if it was */
  leave(task: RunTask, start?: number): void {
    this.#places.leave(task.place!);
    // It has not paused: this was its first attempt.
    if (start !== undefined && !task.pause) this.#waitTime.record(start - task.since);
  }

  /** No item is under way, and the pool is not kept. */
  clear(): void {
    this.#places.clear();
  }

  stats(): QueueStats {
    const now = monotonic();
    let oldest = this.#source.first()?.since ?? now;
    for (const task of this.#places.waiting()) oldest = Math.min(oldest, task.since);
    return {
      waiting: Math.max(0, this.#waiting),
      oldest: now - oldest,
      refused: this.#refused,
      waitTime: this.#waitTime.summary(),
    };
  }

  /** How many more would not be refused. */
  #room(): number {
    const { maxQueue } = this.#plan;
    if (maxQueue !== undefined) return maxQueue - this.#waiting;
    return this.#waiting > 0 ? 0 : Infinity;
  }

  /** Until the pool takes tasks, as many as it can run do not count: below 0 if there are fewer. */
  get #waiting(): number {
    const { slots, perPlace } = this.#plan;
    const running = this.#source.takesTasks() ? this.#places.running : slots.size * perPlace;
    return this.#source.active() - running;
  }
}
