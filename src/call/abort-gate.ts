/** Lets a call await code of the user (usually a hook) until the call is aborted: the code may never settle. */
export class AbortGate {
  #isAborted = false;
  /** One per pending `pass`. Not an AbortSignal: there may be a thousand at a time, over a million items. */
  readonly #onAbort = new Set<() => void>();

  /** Resolves every pending and future `pass` with `undefined`. */
  abort(): void {
    this.#isAborted = true;
    for (const each of this.#onAbort) each();
  }

  /** Settles as `promise` does, or resolves with `undefined` as soon as the call is aborted. */
  pass<T>(promise: Promise<T>): Promise<T | undefined> {
    if (this.#isAborted) {
      promise.catch(() => {});
      return Promise.resolve(undefined);
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => resolve(undefined);
      this.#onAbort.add(onAbort);
      promise.then(resolve, reject).finally(() => this.#onAbort.delete(onAbort));
    });
  }
}
