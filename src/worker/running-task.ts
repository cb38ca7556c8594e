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

/** `signal` of a task or an instance: aborts when the child is asked to end. */
export class Interruption {
  readonly #onFirstUse: () => void;
  readonly #reason: string;
  #controller: AbortController | undefined;
  #isAborted = false;

  /** @param onFirstUse - installs the signal handler; without it the signal ends a worker that loops without end */
  constructor(onFirstUse: () => void, reason = "The child was asked to end (SIGTERM)") {
    this.#onFirstUse = onFirstUse;
    this.#reason = reason;
  }

  readonly signal = (): AbortSignal => {
    if (!this.#controller) {
      this.#controller = new AbortController();
      this.#onFirstUse();
      if (this.#isAborted) this.abort();
    }
    return this.#controller.signal;
  };

  /** Whether anybody has asked for the signal. */
  get isUsed(): boolean {
    return this.#controller !== undefined;
  }

  /** Also aborts a signal that is asked for later. */
  abort(): void {
    this.#isAborted = true;
    this.#controller?.abort(new Error(this.#reason));
  }
}
