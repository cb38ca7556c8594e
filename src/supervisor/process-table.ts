/** All processes of the machine at one time, by /proc: who started whom, since when each runs, and how long processors have worked for it. */
import { readdirSync, readFileSync } from "node:fs";
import { setImmediate } from "../system/timers.js";

/** One process, see proc_pid_stat(5). */
export interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  /** In clock ticks since boot: a pid is used again, but not with the same start. */
  readonly start: string;
  /** User and system time of the process and of those children of its that have ended and that it has waited for, in seconds. */
  readonly cpuSeconds: number;
}

/** The kernel tells times in ticks of 1/100 s (USER_HZ) on every processor that Node runs on, whatever its own clock does. */
const TICKS_PER_SECOND = 100;

/**
 * Reading goes on in the next turn of the event loop after so many ms. A process takes 0.06 ms here (measured), so one turn reads some 80. Reading
 * in libuv's threads would take the event loop longer: they need five calls for each of these short files.
 */
const TURN_MS = 5;

export class ProcessTable {
  readonly #facts = new Map<number, ProcessFacts>();
  readonly #children = new Map<number, ProcessFacts[]>();

  private constructor() {}

  /** Returns a table without processes where there is no /proc. */
  static async read(): Promise<ProcessTable> {
    const table = new ProcessTable();
    let turn = performance.now();
    // Not /proc/<pid>/task/<tid>/children, which many kernels lack (CONFIG_PROC_CHILDREN), and which needs a look at each thread.
    for (const name of namesInProc()) {
      const facts = factsOf(Number(name));
      if (facts) table.#add(facts);
      if (performance.now() - turn < TURN_MS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      turn = performance.now();
    }
    return table;
  }

  get(pid: number): ProcessFacts | undefined {
    return this.#facts.get(pid);
  }

  /**
   * Returns the process and all that descend from it; empty if it is not there. One whose parent has ended belongs to init, and to no tree.
   *
   * @param others - roots of trees of their own, which this one does not include
   */
  treeOf(pid: number, others: ReadonlySet<number> = new Set()): ProcessFacts[] {
    const root = this.#facts.get(pid);
    if (!root) return [];
    const tree = [root];
    // It grows while it is walked. A process read before its pid was used again might be its own ancestor: each is taken once.
    const taken = new Set([pid]);
    for (const each of tree) {
      for (const child of this.#children.get(each.pid) ?? []) {
        if (others.has(child.pid) || taken.has(child.pid)) continue;
        taken.add(child.pid);
        tree.push(child);
      }
    }
    return tree;
  }

  #add(facts: ProcessFacts): void {
    this.#facts.set(facts.pid, facts);
    const siblings = this.#children.get(facts.parent);
    if (siblings) siblings.push(facts);
    else this.#children.set(facts.parent, [facts]);
  }
}

function namesInProc(): string[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

/** Returns what /proc says of one process; undefined if it has ended. */
export function factsOf(pid: number): ProcessFacts | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The name, in parentheses, may itself contain spaces and parentheses. Field 3 is the first after it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const field = (number: number) => fields[number - 3]!;
  const ticks = [14, 15, 16, 17].reduce((sum, number) => sum + Number(field(number)), 0);
  return {
    pid,
    parent: Number(field(4)),
    start: field(22),
    cpuSeconds: ticks / TICKS_PER_SECOND,
  };
}
