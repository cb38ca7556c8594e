/** The user's hooks: one at a time, in the order they came or in the order of the items. */
export class HookLine {
  readonly #inOrder: boolean;
  #last: Promise<unknown> = Promise.resolve();
  /** In order: what is due at its turn, and the items that need no turn. */
  readonly #due = new Map<number, () => void>();
  #turn = 0;

  constructor(inOrder: boolean) {
    this.#inOrder = inOrder;
  }

  /** Runs a hook once those before it are done. */
  now(hook: () => unknown): Promise<unknown> {
    const done = this.#last.then(hook);
    this.#last = done.catch(() => {});
    return done;
  }

  async inTurn(index: number, hook: () => unknown): Promise<void> {
    if (this.#inOrder && index !== this.#turn) {
      await new Promise<void>((resolve) => this.#due.set(index, resolve));
    }
    await this.now(hook);
  }

  /** The item is through: it is the next one's turn. */
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
