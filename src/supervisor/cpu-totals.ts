/** CPU time by num: what all children that a num has had have used, so that it never goes back when one takes the place of another. */
import type { SupervisedInstance } from "./monitor.js";
import { type ProcessFacts, ProcessTable } from "./process-table.js";

/** What an instance and everything that it has started use. */
export interface TreeUsage {
  /** Of the instance itself and its descendants. */
  readonly pids: readonly number[];
  /** User and system time of the child that is there now, and its descendants, in seconds. */
  readonly childCpuSeconds: number;
  /** The same of all children that the num has had, as far as they were seen. Never goes back. */
  readonly cpuSeconds: number;
}

/** Times of one num. */
interface Num {
  /** Of children that ended long ago. */
  ended: number;
  /** By child, the latest last. */
  readonly lives: Map<string, number>;
}

/** Totals as plain data, for the supervisor that follows: by num, the seconds of each child. */
export type SavedTotals = Readonly<
  Record<string, { readonly ended: number; readonly lives: Readonly<Record<string, number>> }>
>;

/**
 * So many children of a num are told apart. More than one may run at a time, while one replaces another, and one that was out of sight for a
 * moment must not be counted twice; older ones are a sum.
 */
const LIVES = 8;

export class CpuTotals {
  readonly #nums = new Map<string, Num>();
  /** Of each child, since its pid was seen first. */
  readonly #starts = new WeakMap<SupervisedInstance, string>();

  /** @param saved - what `save()` has returned in another process of the same boot */
  constructor(saved: SavedTotals = {}) {
    for (const [key, { ended, lives }] of Object.entries(saved))
      this.#nums.set(key, { ended, lives: new Map(Object.entries(lives)) });
  }

  save(): SavedTotals {
    return Object.fromEntries(
      Array.from(this.#nums, ([key, { ended, lives }]) => [
        key,
        { ended, lives: Object.fromEntries(lives) },
      ]),
    );
  }

  /**
   * Looks at all processes once. An instance that has ended is left out.
   *
   * @param programPid - of the program: an instance in one of its threads is all of it, without what the program has started
   */
  async look(
    instances: readonly SupervisedInstance[],
    programPid: number,
  ): Promise<ReadonlyMap<SupervisedInstance, TreeUsage>> {
    const table = await ProcessTable.read();
    const roots = new Set([...instances.map(({ pid }) => pid), programPid]);
    const usages = new Map<SupervisedInstance, TreeUsage>();
    for (const instance of instances) {
      const { pid } = instance;
      const root = table.get(pid);
      // Another process, which has the pid now that the child has ended.
      if (!root || this.#startOf(instance, root) !== root.start) continue;
      const tree = pid === programPid ? [root] : table.treeOf(pid, roots);
      const childCpuSeconds = tree.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0);
      usages.set(instance, {
        pids: tree.map((each) => each.pid),
        childCpuSeconds,
        cpuSeconds: this.note(keyOf(instance), `${pid}:${root.start}`, childCpuSeconds),
      });
    }
    return usages;
  }

  /** Notes what one child of a num has used until now, and returns the total of the num. */
  note(key: string, life: string, seconds: number): number {
    let num = this.#nums.get(key);
    if (!num) this.#nums.set(key, (num = { ended: 0, lives: new Map() }));
    const { lives } = num;
    // What a tree has used falls when a descendant leaves it, as daemons do: its time has been used all the same.
    const most = Math.max(seconds, lives.get(life) ?? 0);
    lives.delete(life);
    lives.set(life, most);
    if (lives.size > LIVES) {
      const [oldest, used] = lives.entries().next().value!;
      lives.delete(oldest);
      num.ended += used;
    }
    let total = num.ended;
    for (const each of lives.values()) total += each;
    return total;
  }

  #startOf(instance: SupervisedInstance, { start }: ProcessFacts): string {
    const known = this.#starts.get(instance);
    if (known === undefined) this.#starts.set(instance, start);
    return known ?? start;
  }
}

/** What stays when another child takes the place of an instance. */
export function keyOf({ pool, name, num }: Pick<SupervisedInstance, "pool" | "name" | "num">): string {
  return JSON.stringify([pool ?? null, name, num]);
}
