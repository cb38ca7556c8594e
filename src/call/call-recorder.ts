/** Reports the events of one call to the observers the user asked for: progress, a trace, diagnostics channels. */
import {
  DeadChildError,
  ItemTimeoutError,
  ProtocolError,
  ResultTypeError,
  StartError,
} from "../errors.js";
import * as diagnostics from "../observe/diagnostics.js";
import type { ChildLife } from "../observe/diagnostics.js";
import type { Progress } from "../observe/progress.js";
import type { Trace } from "../observe/trace.js";
import type { ResolvedOptions } from "../options.js";
import { monotonic } from "../system/monotonic.js";
import type { Runs, Task } from "../wire/task.js";

export class CallRecorder {
  readonly #worker: string;
  #trace: Trace | undefined;
  #progress: Progress | undefined;

  constructor(worker: string) {
    this.#worker = worker;
  }

  /** Opens trace and progress. Each is imported only if requested: most calls use neither, and no child does. */
  async open({ trace, progress }: ResolvedOptions, total: number | undefined): Promise<void> {
    if (trace !== undefined) {
      const { Trace } = await import("../observe/trace.js");
      this.#trace = Trace.create(trace, { worker: this.#worker, startedAt: monotonic() });
    }
    if (progress !== false) {
      const { Progress } = await import("../observe/progress.js");
      this.#progress = new Progress(progress === true ? this.#worker : progress, total);
    }
  }

  /** Whether `child` does anything. */
  get recordsChildren(): boolean {
    return this.#trace !== undefined;
  }

  /** Whether there is an observer of attempts. */
  get isObserved(): boolean {
    return this.#trace !== undefined || diagnostics.items.hasSubscribers;
  }

  /** An attempt has ended. `runs` is read only if there is an observer. */
  attempt(task: Task, runs: Runs, seq: number, error?: Error): void {
    if (this.isObserved)
      this.#report(task, runs, seq, error === undefined ? "ok" : outcomeOf(error), error);
  }

  /** An attempt was throttled: the item runs again later. */
  throttled(task: Task, runs: Runs, seq: number): void {
    if (this.isObserved) this.#report(task, runs, seq, "throttled");
  }

  #report(task: Task, runs: Runs, seq: number, outcome: string, error?: Error): void {
    const { index, attempt } = task;
    const { num, generation, pid, start, end } = runs.runOf(seq);
    const facts = { index, attempt, num, generation, pid, start, end, outcome };
    this.#trace?.item({ ...facts, message: error?.message });
    diagnostics.items.publish({
      ...facts,
      worker: this.#worker,
      error,
    } satisfies diagnostics.ItemMessage);
  }

  /** Items have finally succeeded or failed. */
  done(succeeded: number, failed: number): void {
    this.#progress?.add(succeeded, failed);
  }

  inFlight(count: number): void {
    if (this.#trace) this.#trace.inFlight(count, monotonic());
  }

  /** Adds a child that has ended, or that is still alive when the call ends. */
  child(life: ChildLife): void {
    this.#trace?.child(life);
  }

  async close(): Promise<void> {
    this.#progress?.end();
    await this.#trace?.close();
  }
}

function outcomeOf(error: Error): string {
  if (error instanceof ItemTimeoutError) return "timeout";
  if (error instanceof DeadChildError) return "dead";
  if (error instanceof ProtocolError) return "breach";
  if (error instanceof StartError) return "unstarted";
  return error instanceof ResultTypeError ? "mistyped" : "error";
}
