/** The jobs that this machine holds, of all queues. */
import type { AbortMessage } from "./keys.js";
import type { HeldLock } from "./lock-extender.js";
import type { TakenJob } from "./taken-job.js";

export class TakenJobs {
  readonly #all = new Set<TakenJob>();
  /** By queue and id: the last one, if this machine has taken a job again that it had lost. */
  readonly #byId = new Map<string, TakenJob>();

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): Iterator<TakenJob> {
    return this.#all.values();
  }

  add(taken: TakenJob): void {
    this.#all.add(taken);
    this.#byId.set(keyOf(taken), taken);
  }

  delete(taken: TakenJob): boolean {
    if (this.#byId.get(keyOf(taken)) === taken) this.#byId.delete(keyOf(taken));
    return this.#all.delete(taken);
  }

  /** The lock may be a copy, from a thread. */
  withLock({ queue, id, token }: HeldLock): TakenJob | undefined {
    const taken = this.#byId.get(keyOf({ queue, id }));
    if (taken?.lock.token === token) return taken;
    return [...this.#all].find(
      ({ lock }) => lock.token === token && lock.id === id && lock.queue === queue,
    );
  }

  /** Returns whether the job is here. */
  obey(queue: string, message: AbortMessage): boolean {
    const taken = this.#byId.get(keyOf({ queue, id: message.job }));
    taken?.obey(message);
    return taken !== undefined;
  }
}

function keyOf({ queue, id }: Pick<HeldLock, "queue" | "id">): string {
  return `${queue}:${id}`;
}
