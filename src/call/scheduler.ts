/**
 * One call: has items become tasks as slots come free, gives them to a pool, and hands on what became of each. Owns
 * retries, hooks and every way a call can end; where and how a task runs is the pool's business.
 */
import { AbortGate } from "./abort-gate.js";
import type { CallerContext } from "./caller-context.js";
import { CallRecorder } from "./call-recorder.js";
import { Pace } from "../pool/pace.js";
import type { Pool } from "../pool/pool.js";
import { FailureLimit } from "./failure-limit.js";
import { Feed, type FeedEvents } from "./feed.js";
import { HookLine } from "./hook-line.js";
import type { Done, KnownResults } from "../journal/known-results.js";
import { LoopHold } from "./loop-hold.js";
import type { ResolvedOptions } from "../options.js";
import type { Failure, Run, Runs, Task, TaskOwner } from "../wire/task.js";
import type { ChildLife } from "../observe/diagnostics.js";
import { WaitingTasks } from "./waiting-tasks.js";

export interface Call {
  readonly context: CallerContext;
  /** Errors are told as those of the call. */
  readonly site: { claim<T>(error: T): T };
  readonly items: Iterable<unknown> | AsyncIterable<unknown>;
  readonly options: ResolvedOptions;
  /** Whether anybody wants the results. */
  readonly wantsResults: boolean;
  /** What `process` is to return, for errors. */
  readonly expected: string;
  readonly recorder: CallRecorder;
  /** Results that need no child, where there may be any. */
  readonly openKnown: (() => Promise<KnownResults>) | undefined;
  /** Has all ready that a pool needs; only asked when there is an item. */
  readonly ready: () => Promise<unknown>;
  readonly open: () => Promise<Pool>;
  /** When the call needs it no more. */
  readonly release: (pool: Pool, call: TaskOwner) => Promise<void>;
  /** How many items may be pulled now; any number unless given. */
  readonly mayPull?: () => number;
  readonly onResult: (index: number, result: unknown, item: unknown) => void;
  readonly onError: (index: number, error: Error) => void;
}

/** Items that are done and whose `onFinish` waits, at most: else a slow one would let them pile up. */
const MAX_WAITING_HOOKS = 1000;
/** Of what is left, a batch takes at most this part of each slot's share. */
const SHARES_LEFT = 2;

/** With the hooks that run in this context. */
function inContext(options: ResolvedOptions, context: CallerContext): ResolvedOptions {
  const { onStart, onFinish, tag } = options;
  if (!onStart && !onFinish && !tag) return options;
  return {
    ...options,
    ...(onStart ? { onStart: context.bind(onStart) } : {}),
    ...(onFinish ? { onFinish: context.bind(onFinish) } : {}),
    ...(tag ? { tag: context.bind(tag) } : {}),
  };
}

const OVER: Omit<Call, "context"> = {
  site: { claim: (error) => error },
  items: [],
  options: {} as ResolvedOptions,
  wantsResults: false,
  expected: "",
  recorder: new CallRecorder(""),
  openKnown: undefined,
  ready: async () => {},
  open: async () => {
    throw new Error("The call is over");
  },
  release: async () => {},
  onResult() {},
  onError() {},
};

export class Scheduler implements TaskOwner {
  options: ResolvedOptions;
  readonly wantsResults: boolean;
  readonly expected: string;
  readonly endsAtError: boolean;
  #call: Omit<Call, "context">;
  readonly context: CallerContext;
  // Looked up once: they are used for every item, and no two calls need look alike to V8.
  readonly #recorder: CallRecorder;
  #onResult: Call["onResult"];
  #onFinish: ResolvedOptions["onFinish"];
  readonly #feed: Feed;
  readonly #hooks: HookLine;
  readonly #pace = new Pace();
  readonly #waiting: WaitingTasks;
  readonly #limit: FailureLimit;
  /** What is the user's is waited for until there is a reason to end at once. */
  readonly #gate = new AbortGate();
  /** Its children are killed, and nobody is told of what else they do. */
  #isHalted = false;
  #pool: Pool | undefined;
  #known: KnownResults | undefined;
  #isOpening = false;
  /** Tasks that are neither done nor given up. */
  #open = 0;
  #waitingHooks = 0;
  #firstError: Error | undefined;
  readonly #toRecord: Done[] = [];
  /** No new item starts. */
  #isStopped = false;
  /** What the call rejects with: the first reason in time. */
  #stopReason: { readonly error: unknown } | undefined;
  /** That the program does not end in the middle of the call. */
  readonly #hold = new LoopHold();
  #end!: () => void;
  readonly #ended = new Promise<void>((resolve) => (this.#end = resolve));

  constructor(call: Call) {
    this.#call = call;
    this.#recorder = call.recorder;
    this.#onResult = call.onResult;
    this.context = call.context;
    this.options = inContext(call.options, call.context);
    this.#onFinish = this.options.onFinish;
    this.wantsResults = call.wantsResults;
    this.expected = call.expected;
    const { onStart, finishInOrder, stopOnError, halt, retries, retryDelay } = this.options;
    this.endsAtError = stopOnError && !halt && retries === 0;
    this.#waiting = new WaitingTasks(retryDelay, () => this.#onMore());
    this.#limit = new FailureLimit(call.options);
    this.#hooks = new HookLine(finishInOrder);
    const events: FeedEvents = {
      admit: (item, index) => this.#admit({ index, item, attempt: 1 }),
      onStart: onStart && ((task) => this.#startHook(task)),
      mayPull: () => this.#mayPull(),
      onMore: () => this.#onMore(),
      onError: (error) => this.#stop(error),
    };
    this.#feed = new Feed(call.items, events, call.context);
  }

  /** Whether no new item starts: after an error, or because it is to end. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Items pulled so far. */
  get pulled(): number {
    return this.#feed.pulled;
  }

  /** Items that may be pulled and not yet read, when nobody says how many: for each slot one batch to run, one on its way, one to be read. */
  get window(): number {
    const size = this.#pool?.size ?? 1;
    return size * 3 * Math.max(this.batchSize, this.options.fibers);
  }

  /** More may be pulled. */
  onRead(): void {
    this.#onMore();
  }

  /** Items per line: fewer towards the end, so that no slot is left with work that another is free for. */
  get batchSize(): number {
    const { batch } = this.options;
    if (batch !== "auto") return batch;
    const remaining = (this.#feed.remaining ?? Infinity) + this.#waiting.size;
    const share = remaining / ((this.#pool?.size ?? 1) * SHARES_LEFT);
    return Math.max(1, Math.min(this.#pace.size, Math.ceil(share)));
  }

  /**
   * Not where somebody would notice: `onStart` is told of items that start, a generator is not run ahead of (but for a
   * batch, which is some ms of work), and `batch: 1` asks for one item at a time.
   */
  get sendsAhead(): boolean {
    const { batch, onStart } = this.options;
    if (batch === 1 || onStart) return false;
    return this.batchSize > 1 || this.#feed.remaining !== undefined;
  }

  get takesAhead(): boolean {
    return !this.options.onStart && this.#feed.remaining !== undefined;
  }

  get msPerItem(): number {
    return this.#pace.msPerItem;
  }

  /** Runs the call to its end: afterwards no child runs an item of it. Rejects with what stopped it. */
  async run(): Promise<void> {
    this.#hold.take();
    try {
      await this.#run();
    } finally {
      this.#hold.release();
      this.context.release();
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.options;
    signal?.throwIfAborted();
    const onAbort = () => this.halt(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await this.#recorder.open(this.options, this.#feed.remaining);
      this.#known = await this.#call.openKnown?.();
      this.#onMore();
      await this.#ended;
      this.#hold.take();
      await this.#gate.pass(this.#hooks.idle());
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#feed.stop();
      await this.#leave();
    }
    const { site } = this.#call;
    const reason = this.#stopReason;
    this.#letGo();
    if (reason) throw site.claim(reason.error);
  }

  /** A child that stays keeps its last call, but not what is the caller's: his `Parallel` may hang on that. */
  #letGo(): void {
    this.#call = OVER;
    this.#onResult = OVER.onResult;
    this.#onFinish = undefined;
    this.#known = undefined;
    this.#stopReason = undefined;
    this.#firstError = undefined;
    const { onStart: _, onFinish: __, signal: ___, ...options } = this.options;
    this.options = options;
  }

  /** Each is left even if another cannot be: a journal is flushed to a disk that may be full. */
  async #leave(): Promise<void> {
    try {
      if (this.#pool) await this.#call.release(this.#pool, this);
    } finally {
      try {
        await this.#known?.close();
      } finally {
        await this.#recorder.close();
      }
    }
  }

  /** Ends the call at once: kills what runs; `run` then rejects with `reason`. */
  halt(reason: unknown): void {
    if (this.#isHalted) return;
    this.#isHalted = true;
    this.#stopReason = { error: reason };
    this.#gate.abort();
    this.#stop(reason);
    this.#pool?.kill(this);
  }

  /** Ends the call at once, as nothing more of it is wanted: kills what runs, awaits hooks; `run` then resolves. */
  finish(): void {
    if (this.#isHalted) return;
    this.#isHalted = true;
    this.#endWork();
    this.#pool?.kill(this);
  }

  take(limit: number): Task[] {
    if (this.#isStopped) return [];
    const tasks = this.#waiting.take(limit);
    const count = tasks.length;
    // Results that are known are told while it pulls; until it is known what else there is, the call is not over.
    this.#open += 1;
    if (count < limit) this.#feed.take(limit, tasks);
    this.#open += tasks.length - count - 1;
    // Something has ended the call meanwhile: an item that cannot be had, or an answer that was known.
    if (this.#isStopped) this.returned(tasks.splice(0));
    this.#holdLoop();
    // That there is nothing more is only known once it has been asked for.
    if (tasks.length === 0) this.#endIfDone();
    this.#recorder.inFlight(this.#open);
    return tasks;
  }

  succeeded(task: Task, result: unknown, runs: Runs, seq: number): void {
    this.#recorder.attempt(task, runs, seq);
    if (this.#isHalted) return this.#close(task);
    if (this.#known) this.#record({ task, result, run: runs.runOf(seq) });
    else this.#deliver(task, result, runs, seq);
  }

  failed(task: Task, failure: Failure, run: Run): void {
    task.failure = failure;
    this.#call.site.claim(failure.error);
    this.#recorder.attempt(task, { runOf: () => run }, 0, failure.error);
    if (!failure.isRetriable || task.attempt > this.options.retries || this.#isStopped) {
      return this.#giveUp(task);
    }
    this.#waiting.retry(task);
  }

  throttled(task: Task, ms: number, runs: Runs, seq: number): void {
    this.#recorder.throttled(task, runs, seq);
    this.#waiting.throttle(task, ms);
    if (this.#isStopped) this.#drop();
  }

  returned(tasks: readonly Task[]): void {
    this.#waiting.putBack(tasks);
    if (this.#isStopped) this.#drop();
  }

  paced(count: number, ms: number, bytes: number): void {
    this.#pace.note(count, ms, bytes);
  }

  doomed(error: Error): void {
    if (!this.#isHalted) this.#stop(error);
  }

  childEnded(life: ChildLife): void {
    this.#recorder.child(life);
  }

  /** Pulls no more items; those that have been are run. */
  stopPulling(): void {
    this.#feed.finish();
  }

  /** A task of an item, unless its result is known or will be another's. */
  #admit(task: Task): Task | undefined {
    const known = this.#known?.find(task);
    if (known === undefined) return task;
    if (known === "later") return undefined;
    this.#open += 1;
    if ("error" in known) this.#fail(task, known.error);
    else if (known.run) this.#deliver(task, known.result, { runOf: () => known.run! }, 0);
    else {
      // Of an earlier run, which has told `onFinish`.
      this.#succeed(task, known.result);
      this.#close(task);
    }
    return undefined;
  }

  /** Those that come together are recorded in one write, before anybody is told of them. */
  #record(done: Done): void {
    this.#toRecord.push(done);
    if (this.#toRecord.length > 1) return;
    queueMicrotask(() => {
      const all = this.#toRecord.splice(0);
      try {
        this.#known!.record(all);
      } catch (error) {
        this.#stop(error);
        for (const { task } of all) this.#close(task);
        return;
      }
      for (const { task, result, run } of all) {
        const followers = this.#known!.followers(task);
        this.#open += followers.length;
        for (const each of [task, ...followers]) {
          if (this.#isHalted) this.#close(each);
          else this.#deliver(each, result, { runOf: () => run }, 0);
        }
      }
    });
  }

  #deliver(task: Task, result: unknown, runs: Runs, seq: number): void {
    const { index, item } = task;
    this.#releaseItem(task);
    this.#succeed(task, result);
    const onFinish = this.#onFinish;
    if (!onFinish) return this.#close(task);
    const { num, pid, start, end, usage, printed } = runs.runOf(seq);
    const duration = end - start;
    const collected = printed?.collected;
    const info = { num, pid: pid!, attempt: task.attempt, duration, usage, ...collected };
    this.#waitingHooks += 1;
    const hook = () => onFinish(item as never, index, result as never, info);
    this.#gate
      .pass(this.#hooks.inTurn(index, hook))
      .catch((error: unknown) => this.#stop(error))
      .finally(() => {
        this.#waitingHooks -= 1;
        this.#close(task);
        this.#pool?.dispatch();
      });
  }

  #succeed({ index, item }: Task, result: unknown): void {
    this.#limit.succeeded();
    this.#recorder.done(1, 0);
    this.#onResult(index, result, item);
  }

  /** There may be something to do, or nothing any more. */
  #onMore(): void {
    if (this.#pool) this.#pool.dispatch();
    else if (!this.#isOpening) this.#begin();
    this.#endIfDone();
  }

  /** An empty input starts nothing: only an item opens a pool. */
  #begin(): void {
    this.#waiting.putBack(this.take(1));
    if (this.#waiting.size > 0) void this.#openPool();
  }

  async #openPool(): Promise<void> {
    this.#isOpening = true;
    try {
      await this.#gate.pass(this.#call.ready());
      if (!this.#isStopped) {
        this.#pool = await this.#call.open();
        this.#pool.add(this);
        this.#pool.dispatch();
      }
    } catch (error) {
      this.#stop(error);
    }
    this.#isOpening = false;
    this.#endIfDone();
  }

  /** Starts no new item; the first reason in time is what the call rejects with. */
  #stop(error: unknown): void {
    this.#stopReason ??= { error };
    this.#endWork();
  }

  #endWork(): void {
    this.#isStopped = true;
    this.#feed.stop();
    this.#drop();
    this.#pool?.recall(this);
    this.#endIfDone();
  }

  /** Gives up what waits. */
  #drop(): void {
    for (const task of this.#waiting.drain()) {
      if (task.failure) this.#giveUp(task);
      else this.#close(task);
    }
  }

  #giveUp(task: Task): void {
    const { error } = task.failure!;
    const followers = this.#known?.failed(task, error) ?? [];
    this.#open += followers.length;
    for (const each of [task, ...followers]) this.#fail(each, error);
  }

  #fail(task: Task, error: Error): void {
    if (!this.#isHalted) this.#tellFailure(task, error);
    this.#close(task);
  }

  #tellFailure(task: Task, error: Error): void {
    this.#limit.failed();
    this.#firstError ??= error;
    this.#recorder.done(0, 1);
    // First: who is told of it may ask whether it is the end.
    if (!this.#isStopped && this.#limit.isReached) this.#stop(this.#firstError);
    this.#call.onError(task.index, error);
  }

  #close(task: Task): void {
    this.#releaseItem(task);
    this.#hooks.skip(task.index);
    this.#open -= 1;
    this.#recorder.inFlight(this.#open);
    if (this.#open > 0) return;
    this.#holdLoop();
    this.#endIfDone();
  }

  /** A stream that nobody reads further, though its reader has not said so, is no reason to stay; a reader who waits has a hold of its own. */
  #holdLoop(): void {
    if (this.#open > 0) this.#hold.take();
    else if (this.#call.mayPull) this.#hold.release();
  }

  #releaseItem(task: Task): void {
    if (!task.long) return;
    this.#pool?.releaseItem(task.long);
    task.long = undefined;
  }

  #endIfDone(): void {
    if (this.#open === 0 && this.#feed.isOver && !this.#isOpening) this.#end();
  }

  #mayPull(): number {
    return Math.min(this.#call.mayPull?.() ?? Infinity, MAX_WAITING_HOOKS - this.#waitingHooks);
  }

  #startHook(task: Task): Promise<unknown> {
    const hook = this.#hooks.now(() => this.options.onStart!(task.item as never, task.index));
    return this.#gate.pass(hook);
  }
}
