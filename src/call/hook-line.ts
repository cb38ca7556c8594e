/** Runs the user's hooks one at a time, in the order in which they are added or in the order of the items. */
export class HookLine {
  readonly #inOrder: boolean;
  #last: Promise<unknown> = Promise.resolve();
  /** With `inOrder`, by index: the resolver of a waiting hook, or `PASSED` for an item whose turn is over. */
  readonly #due = new Map<number, () => void>();
  #turn = 0;

  constructor(inOrder: boolean) {
    this.#inOrder = inOrder;
  }

  /** Runs a hook once all hooks before it are done. */
  now(hook: () => unknown): Promise<unknown> {
    const done = this.#last.then(hook);
    this.#last = done.catch(() => {});
    return done;
  }

  /** Runs the hook of an item; with `inOrder`, once `skip` was called for all items before it. */
  async inTurn(index: number, hook: () => unknown): Promise<void> {
    if (this.#inOrder && index !== this.#turn) {
      await new Promise<void>((resolve) => this.#due.set(index, resolve));
    }
    await this.now(hook);
  }

  /** The item needs no further hook: the next item gets its turn. */
  skip(index: number): void {
    if (!this.#inOrder) return;
    this.#due.set(index, PASSED);
    while (this.#due.get(this.#turn) === PASSED) {
      this.#due.delete(this.#turn);
      this.#turn += 1;
    }
    this.#due.get(this.#turn)?.();
  }

  async idle(): Promise<void> {
    await this.#last;
  }
}

const PASSED = () => {};
