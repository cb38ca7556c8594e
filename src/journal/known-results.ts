/**
 * The folder holds the results that need no child, and the journal that records them. Here: the results of items equal to
 * another item of the call (`dedupe`), and of items that an earlier run has recorded (`journal`). Owns the keys of items.
 */
import { createHash } from "node:crypto";
import { serialize } from "node:v8";
import type { ItemFormat, ResolvedOptions } from "../options.js";
import { ofItem } from "../wire/items.js";
import type { Run, Task } from "../wire/task.js";
import { resultFormatOf } from "../worker/check-worker.js";
import { commandOf } from "../worker/command-worker.js";
import { definitionOf, isOfFunction, nameOf } from "../worker/function-worker.js";
import { itemKey, KeyCounter } from "./item-key.js";
import { Journal } from "./journal.js";

/** `run` is missing if an earlier run recorded the result. */
export type KnownOutcome =
  | { readonly result: unknown; readonly run?: Run }
  | { readonly error: Error };

interface Leader {
  readonly task: Task;
  /** Tasks with an equal item that wait for this one. */
  readonly followers: Task[];
  /** Set once the task has succeeded or finally failed. */
  outcome?: KnownOutcome;
}

/** A task that has succeeded. */
export interface Done {
  readonly task: Task;
  readonly result: unknown;
  readonly run: Run;
}

export class KnownResults {
  readonly #journal: Journal | undefined;
  /** By key, with `dedupe`. */
  readonly #leaders: Map<string, Leader> | undefined;
  readonly #counter = new KeyCounter();
  readonly #format: ItemFormat;

  static async open(
    worker: object,
    options: Pick<ResolvedOptions, "journal" | "dedupe" | "serialization">,
    wantsResults: boolean,
  ): Promise<KnownResults> {
    const { journal: directory, dedupe, serialization } = options;
    const journal =
      directory === undefined
        ? undefined
        : await Journal.open(directory, {
            worker: nameOf(worker),
            version: versionOf(worker),
            results: wantsResults ? resultFormatOf(worker, serialization) : "none",
          });
    return new KnownResults(journal, dedupe, serialization);
  }

  private constructor(journal: Journal | undefined, dedupe: boolean, format: ItemFormat) {
    this.#format = format;
    this.#journal = journal;
    this.#leaders = dedupe ? new Map() : undefined;
  }

  /**
   * Returns the outcome of a task that need not run; `"later"` if it shares the outcome of a task still running (it is
   * then one of that task's `followers`); `undefined` if it has to run.
   */
  find(task: Task): KnownOutcome | "later" | undefined {
    const key = ofItem(task, this.#format, () => itemKey(task.item, this.#format));
    // Without `dedupe`, equal items are distinguished by their occurrence.
    task.key = this.#leaders ? key : this.#counter.next(key);
    const recorded = this.#journal?.find(task.key);
    if (recorded || !this.#leaders) return recorded;
    const leader = this.#leaders.get(key);
    if (!leader) {
      this.#leaders.set(key, { task, followers: [] });
      return undefined;
    }
    if (!leader.outcome) {
      leader.followers.push(task);
      return "later";
    }
    task.attempt = leader.task.attempt;
    return leader.outcome;
  }

  /** Records results: once it returns, killing this process loses none of them. */
  record(done: readonly Done[]): void {
    this.#journal?.add(done.map(({ task, result }) => ({ key: task.key!, result })));
    for (const { task, result, run } of done) this.#settle(task, { result, run });
  }

  /** Notes that a task has finally failed; returns the tasks that fail with it. The next run tries them again. */
  failed(task: Task, error: Error): readonly Task[] {
    this.#settle(task, { error });
    return this.followers(task);
  }

  #settle(task: Task, outcome: KnownOutcome): void {
    const leader = this.#leaders?.get(task.key!);
    if (leader) leader.outcome = outcome;
  }

  /** Removes and returns the tasks that wait for this one. */
  followers(task: Task): readonly Task[] {
    const followers = this.#leaders?.get(task.key!)?.followers.splice(0) ?? [];
    for (const each of followers) each.attempt = task.attempt;
    return followers;
  }

  async close(): Promise<void> {
    await this.#journal?.close();
  }
}

/**
 * Its `static version`, or a hash of its class's source (not that of a `CommandWorker`) and its own fields. A function has
 * its own properties in place of both.
 */
function versionOf(worker: object): string {
  const definition = definitionOf(worker);
  const { version } = definition;
  if (typeof version === "string" || typeof version === "number") return String(version);
  const text = commandOf(worker) ? "" : String(definition);
  const hash = createHash("sha256").update(text);
  for (const [name, value] of Object.entries(isOfFunction(worker) ? definition : worker)) {
    hash.update(name).update(bytesOf(value));
  }
  return hash.digest("hex").slice(0, 16);
}

function bytesOf(value: unknown): Uint8Array | string {
  try {
    return serialize(value);
  } catch {
    // Such a value cannot be sent to a child either.
    return typeof value;
  }
}
