/**
 * Abort signals that many calls of `run` share: one listener for each signal, however many wait for it. A listener for
 * each would be found among all others when it is removed, and their number would be that of the calls under way.
 */

interface Group<T> {
  readonly members: Set<T>;
  readonly listener: () => void;
}

export class SharedSignals<T> {
  readonly #onAbort: (member: T, reason: unknown) => void;
  readonly #groups = new Map<AbortSignal, Group<T>>();

  constructor(onAbort: (member: T, reason: unknown) => void) {
    this.#onAbort = onAbort;
  }

  add(signal: AbortSignal, member: T): void {
    let group = this.#groups.get(signal);
    if (!group) {
      const members = new Set<T>();
      const listener = () => {
        for (const each of members) this.#onAbort(each, signal.reason);
      };
      signal.addEventListener("abort", listener, { once: true });
      this.#groups.set(signal, (group = { members, listener }));
    }
    group.members.add(member);
  }

  remove(signal: AbortSignal, member: T): void {
    const group = this.#groups.get(signal);
    if (!group?.members.delete(member) || group.members.size > 0) return;
    signal.removeEventListener("abort", group.listener);
    this.#groups.delete(signal);
  }
}
