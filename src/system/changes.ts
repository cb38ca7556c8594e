/** Lets others wait until something about an object holds. */
export class Changes {
  readonly #watchers = new Set<() => void>();

  /** Called at each change. */
  tell(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /** Resolves once it holds, now or after a change. */
  until(isMet: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!isMet()) return;
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
  }
}
