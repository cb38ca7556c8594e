/**
 * Delivers what became of each item to the caller: its result or error at once, then `onFinish` in its turn. Owns the
 * hooks of the call, and counts failures against `stopOnError` and `halt`.
 */
import type { Runs, Task } from "../wire/task.js";
import { AbortGate } from "./abort-gate.js";
import type { CallRecorder } from "./call-recorder.js";
import type { Call } from "./call.js";
import { FailureLimit } from "./failure-limit.js";
import { HookLine } from "./hook-line.js";

/** At most this many calls of `onFinish` may be pending: behind a slow hook, finished items would pile up. */
const MAX_WAITING_HOOKS = 1000;

export interface DeliveryEvents {
  /** `onFinish` has returned for this task. */
  onHookDone(task: Task): void;
  /** The limit of failures is reached: no new item may start. @param error - the first in time */
  onLimit(error: Error): void;
  /** An `onFinish` has thrown. */
  onHookError(error: unknown): void;
}

export class Delivery {
  readonly #recorder: CallRecorder;
  readonly #events: DeliveryEvents;
  readonly #hooks: HookLine;
  readonly #limit: FailureLimit;
  /** The user's code is awaited until the call is aborted. */
  readonly #gate = new AbortGate();
  // Looked up once: they are used for every item, and the `Call`s of two calls may have different shapes for V8.
  #onResult: Call["onResult"];
  #onError: Call["onError"];
  #onStart: Call["options"]["onStart"];
  #onFinish: Call["options"]["onFinish"];
  #waiting = 0;
  #firstError: Error | undefined;

  constructor(
    call: Pick<Call, "options" | "recorder" | "onResult" | "onError">,
    events: DeliveryEvents,
  ) {
    const { onStart, onFinish, finishInOrder } = call.options;
    this.#recorder = call.recorder;
    this.#events = events;
    this.#hooks = new HookLine(finishInOrder);
    this.#limit = new FailureLimit(call.options);
    this.#onResult = call.onResult;
    this.#onError = call.onError;
    this.#onStart = onStart;
    this.#onFinish = onFinish;
  }

  /** How many more items may be pulled before `onFinish` has to catch up. */
  get room(): number {
    return MAX_WAITING_HOOKS - this.#waiting;
  }

  /** Whether each result is passed to `onFinish`. */
  get hasHook(): boolean {
    return this.#onFinish !== undefined;
  }

  /** Whether an item has finally failed. */
  get hasFailed(): boolean {
    return this.#firstError !== undefined;
  }

  /** Runs `onStart` for an item. */
  start({ item, index }: Task): Promise<unknown> {
    return this.#gate.pass(this.#hooks.now(() => this.#onStart!(item as never, index)));
  }

  /**
   * Delivers a result. Returns whether the task is complete, which it is not before its `onFinish` has returned.
   *
   * @param runs - asked for run `seq` only if there is an `onFinish`
   */
  result(task: Task, result: unknown, runs: Runs, seq: number): boolean {
    const { index, item } = task;
    this.resultOf(index, item, result);
    const onFinish = this.#onFinish;
    if (!onFinish) return true;
    const { num, pid, start, end, usage, printed } = runs.runOf(seq);
    const duration = end - start;
    const collected = printed?.collected;
    const info = { num, pid: pid!, attempt: task.attempt, duration, usage, ...collected };
    this.#waiting += 1;
    const hook = () => onFinish(item as never, index, result as never, info);
    this.#gate
      .pass(this.#hooks.inTurn(index, hook))
      .catch((error: unknown) => this.#events.onHookError(error))
      .finally(() => {
        this.#waiting -= 1;
        this.#events.onHookDone(task);
      });
    return false;
  }

  /** Delivers a result without a hook: there is none, or an earlier run has called it. */
  resultOf(index: number, item: unknown, result: unknown): void {
    this.#limit.succeeded();
    this.#recorder.done(1, 0);
    this.#onResult(index, result, item);
  }

  error({ index }: Task, error: Error): void {
    this.#limit.failed();
    this.#firstError ??= error;
    this.#recorder.done(0, 1);
    // Before the caller receives the error: it may ask whether the call ends.
    if (this.#limit.isReached) this.#events.onLimit(this.#firstError);
    this.#onError(index, error);
  }

  /** The item needs no turn any more. */
  skip(index: number): void {
    this.#hooks.skip(index);
  }

  /** Resolves to what `promise` resolves to, or to `undefined` as soon as the call is aborted. */
  unlessAborted<T>(promise: Promise<T>): Promise<T | undefined> {
    return this.#gate.pass(promise);
  }

  /** Awaits none of the user's code any more. */
  abort(): void {
    this.#gate.abort();
  }

  /** Resolves once no hook runs. */
  async idle(): Promise<void> {
    await this.#gate.pass(this.#hooks.idle());
  }

  /** Releases what belongs to the caller, who may hold the `Parallel` through it. */
  release(): void {
    this.#onResult = () => {};
    this.#onError = () => {};
    this.#onStart = undefined;
    this.#onFinish = undefined;
    this.#firstError = undefined;
  }
}
