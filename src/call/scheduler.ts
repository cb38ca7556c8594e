/**
 * One call: turns items into tasks as slots become free, gives the tasks to a pool, and decides what follows from each
 * outcome. Owns retries and every way in which a call can end; where and how a task runs is the pool's business.
 */
import type { ChildLife } from "../observe/diagnostics.js";
import type { ResolvedOptions } from "../options.js";
import { Batching } from "../pool/batching.js";
import type { TaskOptions, TaskOwner } from "../pool/task-owner.js";
import { freshTask, joined, justRun } from "../wire/task.js";
import type { Batch, Failure, Run, Runs, Task } from "../wire/task.js";
import { CallEnd, runCall } from "./call-end.js";
import type { CallRecorder } from "./call-recorder.js";
import type { Call } from "./call.js";
import { type CallerContext, inContext } from "./caller-context.js";
import { Delivery } from "./delivery.js";
import { Feed } from "./feed.js";
import type { KnownTasks } from "./known-tasks.js";
import { OpenTasks } from "./open-tasks.js";
import { PoolLease } from "./pool-lease.js";
import { WaitingTasks } from "./waiting-tasks.js";

export class Scheduler implements TaskOwner {
  readonly context: CallerContext;
  readonly wantsResults: boolean;
  readonly expected: string;
  readonly endsAtError: boolean;
  readonly batching: Batching;
  options: ResolvedOptions;
  #call: Call | undefined;
  readonly #recorder: CallRecorder;
  readonly #feed: Feed;
  readonly #waiting: WaitingTasks;
  readonly #delivery: Delivery;
  readonly #pool: PoolLease;
  #known: KnownTasks | undefined;
  readonly #open: OpenTasks;
  readonly end = new CallEnd({
    onStop: () => this.#endWork(),
    onKill: () => this.#pool.kill(),
    onAbort: () => this.#delivery.abort(),
  });

  constructor(call: Call) {
    this.#call = call;
    this.#recorder = call.recorder;
    this.#open = new OpenTasks(call.recorder, call.mayPull !== undefined);
    this.context = call.context;
    this.options = inContext(call.options, call.context);
    this.wantsResults = call.wantsResults;
    this.expected = call.expected;
    const { onStart, stopOnError, halt, retries, retryDelay } = this.options;
    this.endsAtError = stopOnError && !halt && retries === 0;
    this.#pool = new PoolLease(call, this);
    this.#waiting = new WaitingTasks(retryDelay, () => this.onMore());
    this.#delivery = new Delivery(
      { ...call, options: this.options },
      {
        onHookDone: (task) => {
          this.#close(task);
          this.#pool.dispatch();
        },
        onLimit: (error) => {
          if (!this.end.isStopped) this.end.stop(error);
        },
        onHookError: (error) => this.end.stop(error),
      },
    );
    this.#feed = new Feed(
      call.items,
      {
        format: this.options.serialization,
        admitter: () => this.#known,
        onStart: onStart && ((task) => this.#delivery.start(task)),
        mayPull: () => Math.min(this.#call?.mayPull?.() ?? Infinity, this.#delivery.room),
        onMore: () => this.onMore(),
        onError: (error) => this.end.stop(error),
      },
      call.context,
    );
    this.batching = new Batching(this.options, this.#feed, this.#waiting, this.#pool);
  }

  get observesChildren(): boolean {
    return this.#recorder.recordsChildren;
  }

  within<T>(_task: Task, work: () => T): T {
    return this.context.run(work);
  }

  optionsOf(): TaskOptions {
    return this.options;
  }

  get isComplete(): boolean {
    return !this.end.reason && !this.#delivery.hasFailed;
  }

  get pulled(): number {
    return this.#feed.pulled;
  }

  /**
   * How many items may be pulled and not yet read by default: per slot a batch to run, one on its way, one to be read.
   */
  get window(): number {
    return this.#pool.size * 3 * Math.max(this.batching.size, this.options.fibers);
  }

  /** Runs the call to its end: afterwards no child runs an item of it. Rejects with what stopped it. */
  async run(): Promise<void> {
    const { site } = this.#call!;
    try {
      const reason = await runCall({
        signal: this.options.signal,
        end: this.end,
        hold: this.#open.hold,
        begin: async () => {
          await this.#recorder.open(this.options, this.#feed.remaining);
          await this.#openKnown();
          this.onMore();
        },
        idle: () => this.#delivery.idle(),
        stop: () => this.#feed.stop(),
        close: [
          () => this.#pool.release(),
          () => this.#known?.close(),
          () => this.#recorder.close(),
        ],
      });
      if (reason) throw site.claim(reason.error);
    } finally {
      this.#release();
    }
  }

  /** Releases what belongs to the caller: a warm child keeps its last call alive, which must not keep the `Parallel`. */
  #release(): void {
    this.context.release();
    this.#call = undefined;
    this.#known = undefined;
    this.#delivery.release();
    this.end.release();
    const { onStart: _, onFinish: __, signal: ___, ...options } = this.options;
    this.options = options;
  }

  /** Called when there may be more to do, or nothing any more. */
  onMore(): void {
    if (this.#pool.isOpen) this.#pool.dispatch();
    else if (!this.#pool.isOpening) this.#begin();
    this.#endIfDone();
  }

  /** Pulls no more items; those that were pulled are run. */
  stopPulling(): void {
    this.#feed.finish();
  }

  take(limit: number): Batch {
    if (this.end.isStopped) return [];
    const waiting = this.#waiting.take(limit);
    // Known results are delivered while the feed pulls. This count keeps the call from ending in between.
    this.#open.add(1);
    const left = limit - waiting.length;
    const fed = left > 0 ? this.#feed.take(left, left === limit) : [];
    this.#open.add(fed.length - 1);
    const pulled = joined(waiting, fed);
    // Pulling can end the call: by an item that cannot be pulled, or by a known result.
    const batch = this.end.isStopped ? [] : pulled;
    if (batch !== pulled) this.returned(pulled);
    this.#open.added();
    // Only pulling shows that there are no more items.
    if (batch.length === 0) this.#endIfDone();
    return batch;
  }

  freshSucceeded(index: number, item: unknown, result: unknown, runs: Runs, seq: number): void {
    if (this.#recorder.isObserved || this.#delivery.hasHook) {
      return this.succeeded(freshTask(index, item), result, runs, seq);
    }
    if (!this.end.isHalted) this.#delivery.resultOf(index, item, result);
    this.#closeItem(index);
  }

  succeeded(task: Task, result: unknown, runs: Runs, seq: number): void {
    this.#recorder.attempt(task, runs, seq);
    if (this.end.isHalted) return this.#close(task);
    if (this.#known) this.#known.record({ task, result, run: runs.runOf(seq) });
    else this.#deliver(task, result, runs, seq);
  }

  failed(task: Task, failure: Failure, run: Run): void {
    task.failure = failure;
    this.#call?.site.claim(failure.error);
    this.#recorder.attempt(task, justRun(run), 0, failure.error);
    if (!failure.isRetriable || task.attempt > this.options.retries || this.end.isStopped) {
      return this.#giveUp(task);
    }
    this.#waiting.retry(task);
  }

  throttled(task: Task, ms: number, runs: Runs, seq: number): void {
    this.#recorder.throttled(task, runs, seq);
    this.#waiting.throttle(task, ms);
    if (this.end.isStopped) this.#drop();
  }

  returned(batch: Batch): void {
    this.#waiting.putBack(batch);
    this.#pool.wants();
    if (this.end.isStopped) this.#drop();
  }

  doomed(error: Error): void {
    if (!this.end.isHalted) this.end.stop(error);
  }

  childEnded(life: ChildLife): void {
    this.#recorder.child(life);
  }

  async #openKnown(): Promise<void> {
    this.#known = await this.#call!.openKnown?.({
      onAdded: (count) => this.#open.add(count),
      onResult: (task, result, run) => {
        if (this.end.isHalted) this.#close(task);
        else this.#deliver(task, result, justRun(run), 0);
      },
      onEarlierResult: (task, result) => {
        this.#delivery.resultOf(task.index, task.item, result);
        this.#close(task);
      },
      onError: (task, error) => this.#fail(task, error),
      onUnrecorded: (tasks, error) => {
        this.end.stop(error);
        for (const task of tasks) this.#close(task);
      },
    });
  }

  #deliver(task: Task, result: unknown, runs: Runs, seq: number): void {
    this.#releaseItem(task);
    if (this.#delivery.result(task, result, runs, seq)) this.#close(task);
  }

  /** Starts nothing for an empty input: only an item opens a pool. */
  #begin(): void {
    this.#waiting.putBack(this.take(1));
    if (this.#waiting.size === 0) return;
    void this.#pool.open(this.end, this.#delivery).then(() => this.#endIfDone());
  }

  #endWork(): void {
    this.#feed.stop();
    this.#drop();
    this.#pool.recall();
    this.#endIfDone();
  }

  /** Gives up the tasks that wait. */
  #drop(): void {
    for (const task of this.#waiting.drain()) {
      if (task.failure) this.#giveUp(task);
      else this.#close(task);
    }
  }

  #giveUp(task: Task): void {
    const { error } = task.failure!;
    const followers = this.#known?.failed(task, error) ?? [];
    for (const each of [task, ...followers]) this.#fail(each, error);
  }

  #fail(task: Task, error: Error): void {
    if (!this.end.isHalted) this.#delivery.error(task, error);
    this.#close(task);
  }

  #close(task: Task): void {
    this.#releaseItem(task);
    this.#closeItem(task.index);
  }

  #closeItem(index: number): void {
    this.#delivery.skip(index);
    this.#open.remove();
    if (this.#open.areNone) this.#endIfDone();
  }

  #releaseItem(task: Task): void {
    if (!task.encoded) return;
    this.#pool.releaseItem(task.encoded);
    task.encoded = undefined;
  }

  #endIfDone(): void {
    if (this.#open.areNone && this.#feed.isOver && !this.#pool.isOpening) this.end.reached();
  }
}
