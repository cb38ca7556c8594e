/**
 * Results that need no child: of items that are the same as another one of the call (`dedupe`), and of those that an earlier
 * run has recorded (`journal`). Owns the keys by which items are known again.
 */
import { createHash } from "node:crypto";
import { serialize } from "node:v8";
import { isJsonWorker } from "./check-worker.js";
import { itemKey, KeyCounter } from "./item-key.js";
import { Journal } from "./journal.js";
import type { Task } from "./task.js";

interface Leader {
  /** Same items that wait for this one. */
  readonly followers: Task[];
  /** Once there is one. */
  known?: { readonly result: unknown };
}

export class KnownResults {
  readonly #journal: Journal | undefined;
  /** By key, with `dedupe`. */
  readonly #leaders: Map<string, Leader> | undefined;
  readonly #counter = new KeyCounter();

  static async open(
    worker: object,
    options: { readonly journal?: string; readonly dedupe: boolean },
    wantsResults: boolean,
  ): Promise<KnownResults> {
    const { journal: directory, dedupe } = options;
    const journal =
      directory === undefined
        ? undefined
        : await Journal.open(directory, {
            worker: worker.constructor.name || "worker",
            version: versionOf(worker),
            results: wantsResults ? (isJsonWorker(worker) ? "json" : "text") : "none",
          });
    return new KnownResults(journal, dedupe);
  }

  private constructor(journal: Journal | undefined, dedupe: boolean) {
    this.#journal = journal;
    this.#leaders = dedupe ? new Map() : undefined;
  }

  /** The result of a task that need not run, `"later"` when it is another's, to be told by `record`; else `undefined`. */
  find(task: Task): { readonly result: unknown } | "later" | undefined {
    const key = itemKey(task.item);
    // Told apart by their occurrence, unless all that are the same are one.
    task.key = this.#leaders ? key : this.#counter.next(key);
    const recorded = this.#journal?.find(task.key);
    if (recorded || !this.#leaders) return recorded;
    const leader = this.#leaders.get(key);
    if (leader?.known) return leader.known;
    if (leader) leader.followers.push(task);
    else this.#leaders.set(key, { followers: [] });
    return leader ? "later" : undefined;
  }

  /** Records results: once it returns, killing this process loses none of them. */
  record(done: readonly { readonly task: Task; readonly result: unknown }[]): void {
    this.#journal?.add(done.map(({ task, result }) => ({ key: task.key!, result })));
    for (const { task, result } of done) {
      const leader = this.#leaders?.get(task.key!);
      if (leader) leader.known = { result };
    }
  }

  /** The tasks that have waited for this one. */
  followers(task: Task): readonly Task[] {
    return this.#leaders?.get(task.key!)?.followers.splice(0) ?? [];
  }

  async close(): Promise<void> {
    await this.#journal?.close();
  }
}

/** Its `static version`, or what it is made of: its text and its own fields. */
function versionOf(worker: object): string {
  const { version } = worker.constructor as { version?: unknown };
  if (typeof version === "string" || typeof version === "number") return String(version);
  const hash = createHash("sha256").update(String(worker.constructor));
  for (const [name, value] of Object.entries(worker)) {
    hash.update(name).update(bytesOf(value));
  }
  return hash.digest("hex").slice(0, 16);
}

function bytesOf(value: unknown): Uint8Array | string {
  try {
    return serialize(value);
  } catch {
    // It does not travel either.
    return typeof value;
  }
}
