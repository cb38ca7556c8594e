/**
 * Where the items of `run` are. A place (a slot, or this process) runs as many of its items as it has fibers; the others wait
 * there, as those do that have no place yet. Counted as they come and go: `run` asks each time, and there may be 256 slots.
 */
import type { TaskPlace } from "../pool/task-owner.js";
import { RunTask } from "./run-task.js";

/** A place, and how many items of `run` it has. */
export class RunPlace {
  readonly place: TaskPlace;
  /** @internal */
  count = 0;

  constructor(place: TaskPlace) {
    this.place = place;
  }
}

export class RunPlaces {
  readonly #fibers: number;
  readonly #places = new Map<TaskPlace, RunPlace>();
  #running = 0;

  /** @param fibers - how many items one place runs at once */
  constructor(fibers: number) {
    this.#fibers = fibers;
  }

  /** How many items run. */
  get running(): number {
    return this.#running;
  }

  /** A place is given items. */
  enter(place: TaskPlace, count: number): RunPlace {
    let entry = this.#places.get(place);
    if (!entry) this.#places.set(place, (entry = new RunPlace(place)));
    this.#change(entry, count);
    return entry;
  }

  /** One of its items has left a place. */
  leave(entry: RunPlace): void {
    this.#change(entry, -1);
  }

  /** All items have left: the places may belong to a pool that is closed. */
  clear(): void {
    this.#places.clear();
  }

  /** The first item of `run` that waits at each place. */
  *waiting(): Iterable<RunTask> {
    for (const { place, count } of this.#places.values()) {
      const task = count > this.#fibers ? place.firstWaiting() : undefined;
      // While a long result is read, its child may have the tasks of another call already.
      if (task instanceof RunTask) yield task;
    }
  }

  #change(entry: RunPlace, count: number): void {
    const before = Math.min(entry.count, this.#fibers);
    entry.count += count;
    this.#running += Math.min(entry.count, this.#fibers) - before;
  }
}
