/**
 * The tasks in a child by sequence number. Numbers only increase, and few are in use at once, so a ring holds them. A fresh
 * item has a place in it, and becomes a task when it is asked for.
 */
import { FreshItems, freshTask, type Batch, type Task } from "../wire/task.js";

const NOTHING = 0;
const TASK = 1;
const FRESH = 2;

export class TaskList {
  /** By place: a task, or a fresh item. */
  readonly #ring: unknown[];
  /** By place: what is there. */
  readonly #kinds: Uint8Array;
  /** By place: the index of a fresh item. */
  readonly #indexes: Float64Array;
  #oldest = 0;
  #next = 0;
  #size = 0;

  /** @param capacity - how far apart the numbers of the oldest and the youngest may be */
  constructor(capacity: number) {
    this.#ring = Array.from({ length: capacity }, () => undefined);
    this.#kinds = new Uint8Array(capacity);
    this.#indexes = new Float64Array(capacity);
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
    const { length } = this.#ring;
    while (this.#oldest < this.#next && this.#kinds[this.#oldest % length] === NOTHING) {
      this.#oldest += 1;
    }
    return this.#oldest;
  }

  add(batch: Batch): void {
    const isFresh = batch instanceof FreshItems;
    const values = isFresh ? batch.items : batch;
    const kind = isFresh ? FRESH : TASK;
    const firstIndex = isFresh ? batch.index : 0;
    const { length } = values;
    const capacity = this.#ring.length;
    for (let i = 0, place = this.#next % capacity; i < length; i += 1) {
      this.#ring[place] = values[i];
      this.#kinds[place] = kind;
      this.#indexes[place] = firstIndex + i;
      place = place + 1 === capacity ? 0 : place + 1;
    }
    this.#next += length;
    this.#size += length;
  }

  get(seq: number): Task | undefined {
    const place = seq % this.#ring.length;
    const kind = this.#kindOf(seq, place);
    if (kind === NOTHING) return undefined;
    if (kind === FRESH) {
      this.#ring[place] = freshTask(this.#indexes[place]!, this.#ring[place]);
      this.#kinds[place] = TASK;
    }
    return this.#ring[place] as Task;
  }

  /** Returns how many tasks have a number from `from` on. */
  countFrom(from: number): number {
    let before = 0;
    const { length } = this.#ring;
    for (let seq = this.oldest; seq < from; seq += 1) {
      if (this.#kinds[seq % length] !== NOTHING) before += 1;
    }
    return this.#size - before;
  }

  /** Returns the first task that has a number from `from` on. */
  firstFrom(from: number): Task | undefined {
    for (let seq = Math.max(from, this.oldest); seq < this.#next; seq += 1) {
      const task = this.get(seq);
      if (task) return task;
    }
    return undefined;
  }

  /** Whether a task is in the list: looks at each, of which there are few. */
  has(task: Task): boolean {
    for (let seq = this.oldest; seq < this.#next; seq += 1) if (this.get(seq) === task) return true;
    return false;
  }

  /** Removes and returns a task. */
  take(seq: number): Task | undefined {
    const task = this.get(seq);
    if (task) this.#clear(seq % this.#ring.length);
    return task;
  }

  /** Whether there is an item that has not become a task. */
  isFresh(seq: number): boolean {
    return this.#kindOf(seq, seq % this.#ring.length) === FRESH;
  }

  /** Returns the index of a fresh item. */
  indexOf(seq: number): number {
    return this.#indexes[seq % this.#ring.length]!;
  }

  /** Removes and returns a fresh item. */
  takeFresh(seq: number): unknown {
    const place = seq % this.#ring.length;
    const item = this.#ring[place];
    this.#clear(place);
    return item;
  }

  #kindOf(seq: number, place: number): number {
    return seq < this.#oldest || seq >= this.#next ? NOTHING : this.#kinds[place]!;
  }

  #clear(place: number): void {
    this.#ring[place] = undefined;
    this.#kinds[place] = NOTHING;
    this.#size -= 1;
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
}
