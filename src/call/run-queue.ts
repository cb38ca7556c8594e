/**
 * The calls of `run`: single items of many callers, first come, first served. Those that wait are given to slots in
 * batches, as the items of one call are; each keeps its own timeout, retries and signal, and its failure is its caller's
 * alone. The pool is shared with the other calls of the `Parallel`, or is one of a child per item while there are any.
 */
import type { QueueStats } from "../observe/stats.js";
import type { ResolvedOptions } from "../options.js";
import { Batching } from "../pool/batching.js";
import type { TaskOptions, TaskOwner, TaskPlace } from "../pool/task-owner.js";
import { Queue } from "../system/queue.js";
import { clearTimeout, setImmediate, setTimeout } from "../system/timers.js";
import { checkItem } from "../wire/items.js";
import { type Failure, justRun, type Run, type Runs } from "../wire/task.js";
import { CallerContext } from "./caller-context.js";
import { LoopHold } from "../launch/loop-hold.js";
import { backoffAfter } from "../system/backoff.js";
import { RunBacklog } from "./run-backlog.js";
import { RunLease } from "./run-lease.js";
import type { RunPlan } from "./run-plan.js";
import {
  NO_OPTIONS,
  type OptionsOfRun,
  optionsOf,
  problemWith,
  putBack,
  RunTask,
  type RunItemOptions,
} from "./run-task.js";
import { SharedSignals } from "./shared-signals.js";

export class RunQueue implements TaskOwner {
  readonly options: ResolvedOptions;
  readonly expected: string;
  readonly wantsResults: boolean;
  readonly endsAtError = false;
  readonly observesChildren = false;
  readonly arrivesSingly = true;
  readonly batching: Batching;
  readonly #plan: RunPlan;
  /** Those that no child has been given. */
  readonly #waiting = new Queue<RunTask>();
  readonly #pausing = new Set<RunTask>();
  /** How many have not settled, and how many more are still run by a child. Not a set: there may be a million a minute. */
  #open = 0;
  readonly #signals = new SharedSignals<RunTask>((task, reason) => this.#dismiss(task, reason));
  /** Of items that were given none. */
  readonly #defaults: OptionsOfRun;
  readonly #backlog: RunBacklog;
  readonly #hold = new LoopHold();
  readonly #pool: RunLease;
  /** How many were not refused. */
  #count = 0;
  #isDue = false;
  /** No item can be run: the reason for tasks that are given back in this turn. */
  #doom: Error | undefined;
  /** Why nothing is wanted any more. */
  #destroyed: { readonly reason: unknown } | undefined;
  #onIdle: (() => void) | undefined;

  constructor(plan: RunPlan) {
    this.#plan = plan;
    this.options = plan.options;
    this.expected = plan.expected;
    this.wantsResults = plan.wantsResults;
    this.#defaults = optionsOf(NO_OPTIONS, plan.options);
    this.batching = new Batching(
      plan.options,
      { remaining: 0, arrivesSingly: true },
      this.#waiting,
      plan.slots,
    );
    this.#pool = new RunLease(plan.call, this, plan.keepsPool, {
      isNeeded: () => this.#open > 0,
      onError: (error) => this.doomed(error as Error),
    });
    this.#backlog = new RunBacklog(plan, {
      active: () => this.#open - this.#pausing.size,
      first: () => this.#waiting.first,
      takesTasks: () => this.#pool.takesTasks,
      dispatch: () => this.#pool.dispatch(),
    });
  }

  /** How many calls have not settled. */
  get size(): number {
    return this.#open;
  }

  /**
   * Runs an item; the promise settles with its result or error.
   *
   * @param index - by default, how many were taken before it
   * @throws QueueFullError when `maxQueue` items wait
   */
  run(item: unknown, given: RunItemOptions, index?: number): Promise<unknown> {
    const { signal, tag } = given;
    signal?.throwIfAborted();
    checkItem(item, index, this.options.serialization);
    this.#backlog.makeRoom();
    const number = index ?? this.#count;
    this.#count += 1;
    const context = this.#plan.isInline || tag ? new CallerContext() : undefined;
    const options = given === NO_OPTIONS ? this.#defaults : optionsOf(given, this.options);
    return new Promise((resolve, reject) => {
      const task = new RunTask(number, item, options, context, resolve, reject);
      if (given.attempt) task.attempt = given.attempt;
      if (signal) this.#signals.add(signal, task);
      this.#add(task);
    });
  }

  /** Resolves as soon as one more item would not be refused; without `maxQueue`, as soon as none waits. */
  onDrain(): Promise<void> {
    return this.#backlog.onDrain();
  }

  stats(): QueueStats {
    return this.#backlog.stats();
  }

  /** Resolves once no item is under way and nothing is left of them. */
  async idle(): Promise<void> {
    if (this.#open > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await this.#pool.close();
  }

  /** Ends all items at once: their children are killed, and they fail with `reason`. */
  destroy(reason: unknown): void {
    this.#destroyed = { reason };
    for (const task of [...this.#waiting.drain(), ...this.#pausing]) {
      this.#withdraw(task);
      this.#closeIfDismissed(task);
    }
    this.#pool.kill();
  }

  get mayHaveTasks(): boolean {
    return this.#waiting.size > 0;
  }

  take(limit: number, place: TaskPlace): RunTask[] {
    const tasks: RunTask[] = [];
    while (tasks.length < limit) {
      const task = this.#waiting.shift();
      if (!task) break;
      const problem = problemWith(task, this.options.serialization);
      if (problem) {
        this.#fail(task, problem);
        continue;
      }
      tasks.push(task);
    }
    if (tasks.length > 0) this.#backlog.enter(place, tasks);
    this.#backlog.shrunk();
    return tasks;
  }

  within<T>(task: RunTask, work: () => T): T {
    return task.context ? task.context.run(work) : work();
  }

  optionsOf({ options }: RunTask): TaskOptions {
    return options;
  }

  succeeded(task: RunTask, result: unknown, runs: Runs, seq: number): void {
    this.#plan.recorder.attempt(task, runs, seq);
    this.#backlog.leave(task, runs.startOf(seq));
    task.options.onRun?.(runs.runOf(seq));
    if (this.#close(task, true)) task.resolve(result);
  }

  failed(task: RunTask, { error, isRetriable }: Failure, run: Run): void {
    this.#plan.recorder.attempt(task, justRun(run), 0, error);
    this.#backlog.leave(task, run.start);
    // Of a child that could not be started: why no child can.
    if (this.#doom) return this.#fail(task, this.#doom);
    if (!isRetriable || task.attempt > task.options.retries) {
      task.options.onRun?.(run);
      return this.#fail(task, error);
    }
    const ms = backoffAfter(task.attempt, this.options.retryDelay);
    this.#pause(task, ms, () => (task.attempt += 1));
  }

  throttled(task: RunTask, ms: number, runs: Runs, seq: number): void {
    this.#plan.recorder.throttled(task, runs, seq);
    this.#backlog.leave(task, runs.startOf(seq));
    this.#pause(task, ms);
  }

  returned(tasks: readonly RunTask[]): void {
    const open: RunTask[] = [];
    for (const task of tasks) {
      this.#backlog.leave(task);
      if (this.#doom) this.#fail(task, this.#doom);
      else if (!this.#closeIfDismissed(task)) open.push(task);
    }
    putBack(this.#waiting, open);
    this.#pool.wants();
  }

  doomed(error: Error, culprit?: RunTask): void {
    if (culprit) return void (culprit.dismissal ??= { reason: error });
    this.#doom = error;
    // The tasks of a child that could not be started fail or are given back right after this.
    queueMicrotask(() => (this.#doom = undefined));
    for (const task of this.#waiting.drain()) this.#fail(task, error);
  }

  childEnded(): void {}

  #add(task: RunTask): void {
    this.#open += 1;
    this.#waiting.push(task);
    this.#hold.take();
    // Nothing to wait for if it is the only one: a turn of the event loop is a tenth of what its caller waits.
    if (this.#open === 1) return this.#pool.dispatch();
    if (this.#isDue) return;
    this.#isDue = true;
    // What arrives in one turn travels together.
    setImmediate(() => {
      this.#isDue = false;
      this.#pool.dispatch();
    });
  }

  #pause(task: RunTask, ms: number, onOver?: () => void): void {
    if (this.#closeIfDismissed(task)) return;
    this.#pausing.add(task);
    this.#backlog.shrunk();
    task.pause = setTimeout(() => {
      this.#pausing.delete(task);
      onOver?.();
      putBack(this.#waiting, [task]);
      this.#pool.dispatch();
    }, ms);
  }

  #dismiss(task: RunTask, reason: unknown): void {
    if (task.isSettled) return;
    task.dismissal ??= { reason };
    if (this.#withdraw(task)) return void this.#closeIfDismissed(task);
    task.place!.place.abort(task);
    // It may go on beside others; its result is dropped.
    if (this.options.fibers > 1 && !task.options.awaitsEnd) task.reject(task.dismissal.reason);
  }

  /** Removes a task that no child has; returns whether it was one. */
  #withdraw(task: RunTask): boolean {
    if (this.#waiting.remove(task)) return true;
    if (!this.#pausing.delete(task)) return false;
    clearTimeout(task.pause);
    return true;
  }

  #fail(task: RunTask, error: Error): void {
    if (this.#close(task, false)) task.reject(error);
  }

  /** If the caller does not want the result any more, no attempt follows. */
  #closeIfDismissed(task: RunTask): boolean {
    task.dismissal ??= this.#destroyed;
    return task.dismissal !== undefined && !this.#close(task, false);
  }

  /** The task is over; returns whether its caller waits for what became of it. */
  #close(task: RunTask, isSuccess: boolean): boolean {
    this.#open -= 1;
    if (task.encoded) this.#pool.releaseItem(task.encoded);
    const { signal } = task.options;
    if (signal) this.#signals.remove(signal, task);
    const dismissal = (task.dismissal ??= this.#destroyed);
    this.#plan.onSettled(isSuccess && !dismissal);
    if (dismissal && !task.isSettled) task.reject(dismissal.reason);
    if (this.#open === 0) this.#wentIdle();
    this.#backlog.shrunk();
    return !dismissal;
  }

  #wentIdle(): void {
    this.#hold.release();
    if (!this.#plan.keepsPool) this.#backlog.clear();
    this.#onIdle?.();
    this.#pool.rest();
  }
}
