/** Sums that never go back, over parts that come and go: the children of a num, the nums of a name. */

/** What one child, or one container, has counted. */
interface Life {
  /** Before it was last seen to begin anew. */
  base: number;
  last: number;
}

interface Total {
  /** Of lives that are long gone. */
  ended: number;
  /** The one noted last is the last. */
  readonly lives: Map<string, Life>;
}

/** Totals as plain data, for the process that takes over: by key, what is gone, and each life. */
export type SavedTotals = Readonly<
  Record<string, { readonly ended: number; readonly lives: readonly (readonly [string, Life])[] }>
>;

export class Totals {
  readonly #totals = new Map<string, Total>();
  readonly #fall: "ignored" | "a new start";
  readonly #most: number;

  /**
   * @param fall - what it means when a life counts less than before: `ignored`, or `a new start` from 0, as Prometheus' `rate()` takes it
   * @param most - so many lives of a key are told apart, those that were noted last; a life that is noted after that counts twice
   * @param saved - what `save()` has returned in another process
   */
  constructor(fall: "ignored" | "a new start", most: number, saved: SavedTotals = {}) {
    this.#fall = fall;
    this.#most = most;
    for (const [key, { ended, lives }] of Object.entries(saved)) {
      const known = lives.map(([life, counted]) => [life, { ...counted }] as const);
      this.#totals.set(key, { ended, lives: new Map(known) });
    }
  }

  save(): SavedTotals {
    const all = Array.from(this.#totals, ([key, { ended, lives }]) => [
      key,
      { ended, lives: Array.from(lives, ([life, counted]) => [life, { ...counted }] as const) },
    ]);
    return Object.fromEntries(all) as SavedTotals;
  }

  /** Notes what one life of a key has counted until now, and returns the total of the key. */
  note(key: string, life: string, value: number): number {
    let total = this.#totals.get(key);
    if (!total) this.#totals.set(key, (total = { ended: 0, lives: new Map() }));
    const { lives } = total;
    const known = lives.get(life) ?? { base: 0, last: 0 };
    if (value >= known.last) known.last = value;
    else if (this.#fall === "a new start") {
      known.base += known.last;
      known.last = value;
    }
    lives.delete(life);
    lives.set(life, known);
    if (lives.size > this.#most) end(total, lives.keys().next().value!);
    return this.of(key)!;
  }

  /** Keeps only the sums of all other lives, which must not be noted any more. */
  endAllBut(lives: ReadonlySet<string>): void {
    for (const total of this.#totals.values())
      for (const life of total.lives.keys()) if (!lives.has(life)) end(total, life);
  }

  /** Returns the total of a key; undefined if none was noted. */
  of(key: string): number | undefined {
    const total = this.#totals.get(key);
    if (!total) return undefined;
    let sum = total.ended;
    for (const { base, last } of total.lives.values()) sum += base + last;
    return sum;
  }
}

function end(total: Total, life: string): void {
  const { base, last } = total.lives.get(life)!;
  total.lives.delete(life);
  total.ended += base + last;
}
