/** CPU time by num: what all children that a num has had have used, so that it never goes back when one takes the place of another. */
import type { SupervisedInstance } from "./monitor.js";
import { type ProcessFacts, ProcessTable } from "./process-table.js";
import { type SavedTotals, Totals } from "./totals.js";

/** What an instance and everything that it has started use. */
export interface TreeUsage {
  /** Of the instance itself and its descendants. */
  readonly pids: readonly number[];
  /** User and system time of the child that is there now, and its descendants, in seconds. */
  readonly childCpuSeconds: number;
  /** The same of all children that the num has had, as far as they were seen. Never goes back. */
  readonly cpuSeconds: number;
}

/** A child may be out of sight for a moment, and several of a num run while one replaces another. One that has ended is never seen again. */
const LIVES = 8;

export class CpuTotals {
  /** What a tree has used falls when a descendant leaves it, as daemons do: its time has been used all the same. */
  readonly #totals: Totals;
  /** Of each child, since its pid was seen first. */
  readonly #starts = new WeakMap<SupervisedInstance, string>();

  /** @param saved - what `save()` has returned in another process, since this machine was started */
  constructor(saved?: SavedTotals) {
    this.#totals = new Totals("ignored", LIVES, saved);
  }

  save(): SavedTotals {
    return this.#totals.save();
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
        cpuSeconds: this.#totals.note(keyOf(instance), `${pid}:${root.start}`, childCpuSeconds),
      });
    }
    return usages;
  }

  #startOf(instance: SupervisedInstance, { start }: ProcessFacts): string {
    const known = this.#starts.get(instance);
    if (known === undefined) this.#starts.set(instance, start);
    return known ?? start;
  }
}

/** What stays when another child takes the place of an instance. */
export function keyOf({
  pool,
  name,
  num,
}: Pick<SupervisedInstance, "pool" | "name" | "num">): string {
  return JSON.stringify([pool ?? null, name, num]);
}
