/** The second argument of `process`, in a child and inline. */
import type { Frame, Instance, Kind, TaskContext } from "./worker.js";

export class RunningTask implements TaskContext {
  readonly index: number;
  readonly attempt: number;
  readonly num: number;
  readonly generation: number;
  readonly kind: Kind;
  readonly name: string;
  readonly parent: Frame | undefined;
  readonly context: readonly Frame[];
  readonly #signal: () => AbortSignal;

  constructor(index: number, attempt: number, instance: Instance, signal: () => AbortSignal) {
    this.index = index;
    this.attempt = attempt;
    this.num = instance.num;
    this.generation = instance.generation;
    this.kind = instance.kind;
    this.name = instance.name;
    this.parent = instance.parent;
    this.context = instance.context;
    this.#signal = signal;
  }

  get signal(): AbortSignal {
    return this.#signal();
  }
}

/** `task.signal`: aborts when the child is asked to end. */
export class Interruption {
  readonly #onFirstUse: () => void;
  #controller: AbortController | undefined;

  /** @param onFirstUse - installs the signal handler; without it SIGTERM ends a worker that loops without end */
  constructor(onFirstUse: () => void) {
    this.#onFirstUse = onFirstUse;
  }

  readonly signal = (): AbortSignal => {
    if (!this.#controller) {
      this.#controller = new AbortController();
      this.#onFirstUse();
    }
    return this.#controller.signal;
  };

  abort(): void {
    this.#controller?.abort(new Error("The child was asked to end (SIGTERM)"));
  }
}
