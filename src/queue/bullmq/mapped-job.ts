/** A job from when its tasks were taken until they have outcomes: passes a machine's report on to the call that owns the tasks. */
import { DeadChildError, ItemError, StartError } from "../../errors.js";
import type { ItemOutcome } from "../../pool/engine.js";
import { factsOf } from "../../pool/outcome.js";
import type { TaskOwner } from "../../pool/task-owner.js";
import { monotonic } from "../../system/monotonic.js";
import { describe } from "../../system/describe.js";
import {
  type Batch,
  FreshItems,
  freshTask,
  type Run,
  type Runs,
  type Task,
  tasksOf,
} from "../../wire/task.js";
import { NOWHERE, type Report } from "../batch-record.js";

export class MappedJob {
  readonly id: string;
  readonly owner: TaskOwner;
  /** For a job that an earlier program has added: with holes for the items that the call has not come to. */
  readonly batch: Batch;
  /** In ms on the monotonic clock. */
  readonly madeAt = monotonic();
  /** When it was last known to be in the queue, in ms on the monotonic clock. */
  knownAt = monotonic();
  /** Whether the server has it. */
  isAdded = false;
  /** Its caller no longer wants it. */
  isAborted = false;
  /** It was missing when it was last looked for; unless its report is on its way, it is lost. */
  isMissing = false;

  constructor(id: string, owner: TaskOwner, batch: Batch) {
    this.id = id;
    this.owner = owner;
    this.batch = batch;
  }

  get size(): number {
    return this.batch.length;
  }

  /** Delivers what became of its items. */
  settle({ outcomes, ms, size }: Report): void {
    const { owner, batch } = this;
    owner.batching.note(outcomes.length, ms, size);
    for (const [place, outcome] of outcomes.entries()) {
      if (this.#has(place)) deliver(owner, batch, place, outcome);
    }
  }

  /** Fails all its items: the job itself failed, or the server has refused it. */
  fail(makeError: (task: Task) => Error): void {
    for (const task of this.tasks) {
      this.owner.failed(task, { error: makeError(task), isRetriable: true }, NOWHERE);
    }
  }

  /** Gives its tasks back: no machine runs them. */
  giveBack(): void {
    this.owner.returned(this.tasks);
  }

  get tasks(): readonly Task[] {
    const { batch } = this;
    // Only the holes are left out.
    return batch instanceof FreshItems ? tasksOf(batch) : batch.filter(() => true);
  }

  #has(place: number): boolean {
    return this.batch instanceof FreshItems || this.batch[place] !== undefined;
  }
}

/** The jobs of a program that have no outcome yet. A call that continues an aborted one may have a job with the id of one of that. */
export class MappedJobs {
  readonly #byId = new Map<string, MappedJob>();

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): MappedJob | undefined {
    return this.#byId.get(id);
  }

  has(job: MappedJob): boolean {
    return this.#byId.get(job.id) === job;
  }

  /** Those that their callers do not want any more. */
  aborted(): MappedJob[] {
    return [...this.#byId.values()].filter(({ isAborted }) => isAborted);
  }

  values(): Iterable<MappedJob> {
    return this.#byId.values();
  }

  add(job: MappedJob): void {
    this.#byId.set(job.id, job);
  }

  delete(job: MappedJob): boolean {
    return this.has(job) && this.#byId.delete(job.id);
  }
}

export function deliver(owner: TaskOwner, batch: Batch, place: number, outcome: ItemOutcome): void {
  const { run = NOWHERE } = outcome;
  if ("failure" in outcome) return owner.failed(taskAt(batch, place), outcome.failure, run);
  const result = owner.wantsResults ? outcome.result : undefined;
  if (!(batch instanceof FreshItems)) return owner.succeeded(batch[place]!, result, runs(run), 0);
  const { index, items } = batch;
  owner.freshSucceeded!(index + place, items[place], result, runs(run), 0);
}

export function halvesOf(batch: Batch): Batch[] {
  const tasks = tasksOf(batch);
  const half = Math.ceil(tasks.length / 2);
  return [tasks.slice(0, half), tasks.slice(half)];
}

export function taskAt(batch: Batch, place: number): Task {
  if (!(batch instanceof FreshItems)) return batch[place]!;
  return freshTask(batch.index + place, batch.items[place]);
}

/** @param reason - as the queue has it */
export function failedJob(task: Task, reason: string): Error {
  const facts = factsOf(task, NOWHERE);
  if (!/stalled/.test(reason)) return new ItemError(facts, `failed on its machine: ${reason}`);
  const death = { exitCode: undefined, signal: undefined, probablyOutOfMemory: false };
  const what =
    "was lost: each machine that it was given to went silent (killed, out of memory, cut off from the server, or without processor time)";
  return new DeadChildError(facts, death, what);
}

export function refusedJob(task: Task, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : describe(cause);
  const what = `the queue's server refused its job: ${why}`;
  return new StartError(factsOf(task, NOWHERE), what, { cause });
}

export function unreadableJob(task: Task, cause: unknown): Error {
  const what = `has a report that could not be read: ${cause instanceof Error ? cause.message : describe(cause)}`;
  return new ItemError(factsOf(task, NOWHERE), what, { cause });
}

function runs(run: Run): Runs {
  return { runOf: () => run, startOf: () => run.start };
}
