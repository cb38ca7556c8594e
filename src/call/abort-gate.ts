/** Lets a call wait for what is the user's, a hook mostly, until it is aborted: that may never end. */
export class AbortGate {
  #isAborted = false;
  /** Of those who wait. Not an AbortSignal: there may be a thousand of them, and of items a million. */
  readonly #onAbort = new Set<() => void>();

  /** Nothing is waited for any more. */
  abort(): void {
    this.#isAborted = true;
    for (const each of this.#onAbort) each();
  }

  /** What `promise` gives, or `undefined` as soon as the call is aborted. */
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
