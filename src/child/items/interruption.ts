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
