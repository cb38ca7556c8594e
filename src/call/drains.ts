/**
 * Callers that wait until there is room for one more item. Each is let go for one place, in the order in which they came: if
 * all were let go at once, most would find the queue full.
 */
import { setImmediate } from "../system/timers.js";

export class Drains {
  readonly #room: () => number;
  readonly #waiters: (() => void)[] = [];
  /** Callers let go in this turn of the event loop: they may still take their place. */
  #granted = 0;
  #isDue = false;

  /** @param room - how many more items would not be refused */
  constructor(room: () => number) {
    this.#room = room;
  }

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.look();
    });
  }

  /** Takes a place; returns whether one was kept for a caller that was let go in this turn. */
  take(): boolean {
    if (this.#granted === 0) return false;
    this.#granted -= 1;
    return true;
  }

  /** Called when there may be more room. */
  look(): void {
    if (this.#waiters.length === 0) return;
    const free = Math.max(0, this.#room() - this.#granted);
    const released = this.#waiters.splice(0, free);
    this.#granted += released.length;
    for (const release of released) release();
    if (released.length === 0 || this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#granted = 0;
      this.look();
    });
  }
}
