/**
 * Tasks whose results need no child, because an equal item of the call has run (`dedupe`) or an earlier run has
 * recorded the result (`journal`). The results themselves are in journal/known-results.ts; here they take the place of
 * a run.
 */
import type { Done, KnownResults } from "../journal/known-results.js";
import type { Run, Task } from "../wire/task.js";

/** What the call does with these tasks. */
export interface KnownTaskEvents {
  /** The call has `count` more tasks that are not done. */
  onAdded(count: number): void;
  onResult(task: Task, result: unknown, run: Run): void;
  /** The run that recorded this result has called `onFinish`. */
  onEarlierResult(task: Task, result: unknown): void;
  onError(task: Task, error: Error): void;
  /** These tasks have run, but their results could not be recorded. */
  onUnrecorded(tasks: readonly Task[], error: unknown): void;
}

export class KnownTasks {
  readonly #known: KnownResults;
  readonly #events: KnownTaskEvents;
  readonly #toRecord: Done[] = [];

  constructor(known: KnownResults, events: KnownTaskEvents) {
    this.#known = known;
    this.#events = events;
  }

  /** Returns the task if it has to run; `undefined` if its result is known, or will be once an equal one has run. */
  admit(task: Task): Task | undefined {
    const known = this.#known.find(task);
    if (known === undefined) return task;
    if (known === "later") return undefined;
    this.#events.onAdded(1);
    if ("error" in known) this.#events.onError(task, known.error);
    else if (known.run) this.#events.onResult(task, known.result, known.run);
    else this.#events.onEarlierResult(task, known.result);
    return undefined;
  }

  /** Records a result, then delivers it. Results that arrive together are recorded by one write. */
  record(done: Done): void {
    this.#toRecord.push(done);
    if (this.#toRecord.length === 1) queueMicrotask(() => this.#recordAll());
  }

  /** Returns the tasks that fail with this one: those of equal items. */
  failed(task: Task, error: Error): readonly Task[] {
    const followers = this.#known.failed(task, error);
    this.#events.onAdded(followers.length);
    return followers;
  }

  async close(): Promise<void> {
    await this.#known.close();
  }

  #recordAll(): void {
    const all = this.#toRecord.splice(0);
    try {
      this.#known.record(all);
    } catch (error) {
      const tasks = all.map(({ task }) => task);
      return this.#events.onUnrecorded(tasks, error);
    }
    for (const { task, result, run } of all) {
      const followers = this.#known.followers(task);
      this.#events.onAdded(followers.length);
      for (const each of [task, ...followers]) this.#events.onResult(each, result, run);
    }
  }
}
