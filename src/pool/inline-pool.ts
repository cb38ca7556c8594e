/**
 * The pool of `pool: 0`: runs everything in this process, one item after the other (or `fibers` at a time). Nothing is
 * started or serialised; hooks, errors and results are the same as with children. For debugging and tests.
 */
import {
  ItemError,
  type ItemFacts,
  ItemTimeoutError,
  ResultTypeError,
  WorkerModuleError,
} from "../errors.js";
import { outside } from "../launch/outside.js";
import type { Meter } from "../observe/stats.js";
import { isBytes } from "../system/bytes.js";
import { describe } from "../system/describe.js";
import { monotonic } from "../system/monotonic.js";
import { Link, Queue } from "../system/queue.js";
import { clearTimeout, setImmediate, setTimeout } from "../system/timers.js";
import { recordError, reviveError } from "../wire/error-record.js";
import { type Failure, justRun, type Run, type Task, tasksOf } from "../wire/task.js";
import { refused, valueProblem } from "../wire/value-check.js";
import { resultFormatOf } from "../worker/check-worker.js";
import { currentContext, within } from "../worker/current-context.js";
import { nameOf } from "../worker/function-worker.js";
import { RunningTask } from "../worker/running-task.js";
import type { AnyWorker, Instance } from "../worker/worker.js";
import { factsOf, inWords } from "./outcome.js";
import type { Pool } from "./pool.js";
import type { TaskOwner, TaskPlace } from "./task-owner.js";

/** How long items may follow each other before timers and other events get a turn. */
const TURN_MS = 8;

/** A call in this pool. */
class Turn extends Link {
  readonly owner: TaskOwner;

  constructor(owner: TaskOwner) {
    super();
    this.owner = owner;
  }
}

interface Running {
  readonly owner: TaskOwner;
  readonly task: Task;
  /** Fails the item, unless it has an outcome already. */
  fail(reason: Error): void;
}

export class InlinePool implements Pool, TaskPlace {
  size = 1;
  isResting = false;
  readonly #worker: AnyWorker<unknown, unknown>;
  readonly #meter: Meter;
  readonly #instance: Instance;
  readonly #turns = new Map<TaskOwner, Turn>();
  /** Those that may have tasks: each runs one item in turn. */
  readonly #hungry = new Queue<Turn>();
  readonly #running = new Set<Running>();
  #setUp: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #turnBegan = 0;
  #onIdle: (() => void) | undefined;

  /** Runs `preload`. @throws WorkerModuleError when it fails, as in a fork server */
  static async open(worker: AnyWorker<unknown, unknown>, meter: Meter): Promise<InlinePool> {
    const pool = new InlinePool(worker, meter);
    const { name, context } = pool.#instance;
    try {
      await within(context, () => worker.preload?.());
    } catch (cause) {
      const what = `preload() of ${name} failed: ${inWords(asTold(cause))}`;
      throw new WorkerModuleError("inline", what, { cause });
    }
    return pool;
  }

  private constructor(worker: AnyWorker<unknown, unknown>, meter: Meter) {
    this.#worker = worker;
    this.#meter = meter;
    const context = currentContext();
    const frame = { kind: "inline", num: 0, name: nameOf(worker) } as const;
    this.#instance = {
      ...frame,
      generation: 1,
      parent: context.at(-1),
      context: [...context, frame],
    };
  }

  add(owner: TaskOwner): void {
    this.#turns.set(owner, new Turn(owner));
  }

  remove(owner: TaskOwner): void {
    const turn = this.#turns.get(owner);
    this.#turns.delete(owner);
    if (turn) this.#hungry.remove(turn);
  }

  wants(owner: TaskOwner): void {
    const turn = this.#turns.get(owner);
    if (turn && !this.#hungry.has(turn)) this.#hungry.push(turn);
  }

  dispatch(): void {
    if (this.isResting) return;
    // `fibers` may differ from call to call.
    for (let turn = this.#hungry.first; turn; turn = this.#hungry.first) {
      const { owner } = turn;
      if (this.#running.size >= owner.options.fibers) return;
      this.#hungry.shift();
      const [task] = tasksOf(owner.take(1, this));
      if (!task) continue;
      this.wants(owner);
      void owner.within(task, () => this.#run(task, owner));
    }
  }

  /** No item is in a file here. */
  releaseItem(): void {}

  kill(owner: TaskOwner): void {
    for (const each of this.#running) if (each.owner === owner) each.fail(killed());
  }

  abort(task: Task): void {
    for (const each of this.#running) if (each.task === task) each.fail(killed());
  }

  /** A task begins as soon as it is taken. */
  firstWaiting(): undefined {}

  /** Nothing to take back: a task begins as soon as it is taken. */
  recall(): void {}

  killAll(): void {
    for (const each of this.#running) each.fail(killed());
  }

  /** Harmless twice. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.#running.size > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    const isSetUp = await this.#setUp?.then(
      () => true,
      () => false,
    );
    if (!isSetUp) return;
    await outside(() => within(this.#instance.context, () => this.#worker.teardown?.()));
  }

  async #run(task: Task, owner: TaskOwner): Promise<void> {
    const start = monotonic();
    const controller = new AbortController();
    const timeout = owner.optionsOf(task).timeout;
    let timer: NodeJS.Timeout | undefined;
    let running!: Running;
    const cutShort = new Promise<never>((_, reject) => {
      running = { owner, task, fail: (reason) => (controller.abort(reason), reject(reason)) };
      if (timeout !== undefined) timer = setTimeout(() => running.fail(new TimedOut()), timeout);
    });
    cutShort.catch(() => {});
    this.#running.add(running);
    const outcome = await Promise.race([this.#process(task, controller.signal), cutShort])
      .then((result) => {
        const { serialization } = owner.options;
        const problem = owner.wantsResults ? this.#problemOf(result, serialization) : undefined;
        return { result, problem };
      })
      .catch((thrown: unknown) => ({ thrown }));
    const run: Run = { ...HERE, start, end: monotonic() };
    const facts = factsOf(task, run);
    const isOk = "result" in outcome && outcome.problem === undefined;
    this.#meter.ran(0, run.end - start, 0, isOk);
    if ("thrown" in outcome) owner.failed(task, failureOf(outcome.thrown, facts, timeout), run);
    else if (!isOk) owner.failed(task, mistyped(facts, owner.expected, outcome.problem!), run);
    else {
      const result = owner.wantsResults ? outcome.result : undefined;
      owner.succeeded(task, result, justRun(run), 0);
    }
    clearTimeout(timer);
    this.#running.delete(running);
    if (this.#running.size === 0) this.#onIdle?.();
    this.#goOn();
  }

  async #process({ item, index, attempt }: Task, signal: AbortSignal): Promise<unknown> {
    await this.#prepare();
    const task = new RunningTask(index, attempt, this.#instance, () => signal);
    return await within(this.#instance.context, () => this.#worker.process(item, task));
  }

  /** Runs `setup` once. If it fails, the next item runs it again: in a pool of children, that item has a new child. */
  async #prepare(): Promise<void> {
    const setUp = (this.#setUp ??= outside(() =>
      within(this.#instance.context, async () => {
        await this.#worker.setup?.(this.#instance);
      }),
    ));
    try {
      await setUp;
    } catch (error) {
      if (this.#setUp === setUp) this.#setUp = undefined;
      throw error;
    }
  }

  /**
   * Returns what is wrong with the type of a result, if anything.
   *
   * @throws what the value's own code (a getter, `toJSON`) throws
   */
  #problemOf(result: unknown, serialization: string): string | undefined {
    if (typeof result === "string" || isBytes(result)) return undefined;
    const format = resultFormatOf(this.#worker, serialization);
    if (format === "text") return describe(result);
    const problem = valueProblem(result, format);
    if (problem?.thrown) throw problem.thrown.error;
    return problem && refused(result, problem, format);
  }

  #goOn(): void {
    if (this.isResting) return;
    const now = monotonic();
    if (now - this.#turnBegan < TURN_MS) return this.dispatch();
    this.isResting = true;
    setImmediate(() => {
      this.isResting = false;
      this.#turnBegan = monotonic();
      this.dispatch();
    });
  }
}

// Created when needed: through its stack, an error created on import would keep alive the call that imported this file.
class TimedOut extends Error {
  constructor() {
    super("The item took longer than its timeout");
  }
}

function killed(): Error {
  return new Error("The call was ended");
}

const HERE = { num: 0, generation: 1, pid: process.pid, usage: undefined };

function failureOf(thrown: unknown, facts: ItemFacts, timeout: number | undefined): Failure {
  const error = isTimeout(thrown)
    ? new ItemTimeoutError(facts, timeout!)
    : new ItemError(facts, `failed: ${inWords(asTold(thrown))}`, { cause: thrown });
  return { error, isRetriable: true };
}

/** `instanceof` throws for a Proxy that has been revoked. */
function isTimeout(thrown: unknown): boolean {
  try {
    return thrown instanceof TimedOut;
  } catch {
    return false;
  }
}

/** Returns the error as it would arrive from a child: it can be put into words, whatever was thrown. */
function asTold(thrown: unknown): unknown {
  return reviveError(recordError(thrown));
}

function mistyped(facts: ItemFacts, expected: string, got: string): Failure {
  return { error: new ResultTypeError(facts, expected, got), isRetriable: false };
}
