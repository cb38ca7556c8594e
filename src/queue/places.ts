/**
 * The places of a machine: how many items run at once, over all its workers. Each worker has children for all of them, as the next jobs may
 * all be its own.
 */
import { Link, Queue } from "../system/queue.js";

/** Places that a job holds. */
export interface Held {
  /** Gives back all but `count`. */
  keep(count: number): void;
}

class Request extends Link {
  readonly count: number;
  readonly grant: () => void;

  constructor(count: number, grant: () => void) {
    super();
    this.count = count;
    this.grant = grant;
  }
}

export class Places {
  readonly #size: number;
  readonly #requests = new Queue<Request>();
  #free: number;

  constructor(size: number) {
    this.#size = size;
    this.#free = size;
  }

  /**
   * Waits for its turn: first come, first served. Resolves to `undefined` if `signal` aborts before.
   *
   * @param items - of the job; one with more than there are places holds all
   */
  async take(items: number, signal: AbortSignal): Promise<Held | undefined> {
    const count = Math.min(items, this.#size);
    if (this.#requests.size > 0 || count > this.#free) {
      if (!(await this.#turn(count, signal))) return undefined;
    } else this.#free -= count;
    let held = count;
    return {
      keep: (rest) => {
        if (rest >= held) return;
        this.#free += held - rest;
        held = rest;
        this.#grant();
      },
    };
  }

  #turn(count: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const leave = () => {
        this.#requests.remove(request);
        resolve(false);
        // It may have been all that kept others waiting.
        this.#grant();
      };
      const request = new Request(count, () => {
        signal.removeEventListener("abort", leave);
        resolve(true);
      });
      this.#requests.push(request);
      signal.addEventListener("abort", leave, { once: true });
      if (signal.aborted) leave();
    });
  }

  #grant(): void {
    let next = this.#requests.first;
    while (next && next.count <= this.#free) {
      this.#free -= next.count;
      this.#requests.remove(next);
      next.grant();
      next = this.#requests.first;
    }
  }
}
