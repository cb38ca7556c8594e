/** The tasks in a child by sequence number. Numbers only increase, and few are in use at once, so a ring holds them. */
import type { Task } from "../wire/task.js";

export class TaskList {
  readonly #ring: (Task | undefined)[];
  #oldest = 0;
  #next = 0;
  #size = 0;

  /** @param capacity - how far apart the numbers of the oldest and the youngest may be */
  constructor(capacity: number) {
    this.#ring = Array.from({ length: capacity }, () => undefined);
  }

  get size(): number {
    return this.#size;
  }

  /** How many tasks can be added. */
  get room(): number {
    return this.#ring.length - (this.#next - this.oldest);
  }

  /** The number of the next task to be added. */
  get next(): number {
    return this.#next;
  }

  /** The number of the oldest task; `next` if there is none. */
  get oldest(): number {
    while (this.#oldest < this.#next && !this.get(this.#oldest)) this.#oldest += 1;
    return this.#oldest;
  }

  add(task: Task): void {
    this.#ring[this.#next % this.#ring.length] = task;
    this.#next += 1;
    this.#size += 1;
  }

  get(seq: number): Task | undefined {
    if (seq < this.#oldest || seq >= this.#next) return undefined;
    return this.#ring[seq % this.#ring.length];
  }

  /** Whether a task is in the list: looks at each, of which there are few. */
  has(task: Task): boolean {
    for (let seq = this.oldest; seq < this.#next; seq += 1) if (this.get(seq) === task) return true;
    return false;
  }

  /** Removes and returns a task. */
  take(seq: number): Task | undefined {
    const task = this.get(seq);
    if (task) {
      this.#ring[seq % this.#ring.length] = undefined;
      this.#size -= 1;
    }
    return task;
  }

  /** Returns the tasks with numbers below `to`, with their numbers. */
  upTo(to: number): [number, Task][] {
    const found: [number, Task][] = [];
    for (let seq = this.oldest; seq < to; seq += 1) {
      const task = this.get(seq);
      if (task) found.push([seq, task]);
    }
    return found;
  }

  /** Removes and returns the tasks with numbers from `from` to below `to`. */
  takeAll(from = 0, to = this.#next): Task[] {
    const taken: Task[] = [];
    for (let seq = Math.max(from, this.oldest); seq < to; seq += 1) {
      const task = this.take(seq);
      if (task) taken.push(task);
    }
    return taken;
  }

  /** Restarts the numbers at 0, for a new child. */
  reset(): void {
    this.#oldest = 0;
    this.#next = 0;
  }
}
