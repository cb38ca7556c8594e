/**
 * Runs the jobs that a machine has taken: finds the worker, waits for free places, and runs the items within the user's middleware. An
 * item's failure is an outcome; a job whose outcome nobody wants, or that this machine cannot run, is given back by an error.
 */
import { type Failure, freshTask } from "../wire/task.js";
import { ItemError, ResultTypeError } from "../errors.js";
import type { BatchJob, ItemOutcome, SingleJob } from "../pool/engine.js";
import { factsOf, inWords } from "../pool/outcome.js";
import { USE_ADVANCED } from "../wire/value-check.js";
import { NOWHERE } from "./batch-record.js";
import type { Counts } from "./job-counts.js";
import type { Log } from "./logger.js";
import {
  choose,
  type Dispatcher,
  type Middleware,
  runWithin,
  type ServedJob,
} from "./middleware.js";
import { Places } from "./places.js";
import { isOfMachine, type Items, type ServedWorker } from "./served-worker.js";

export interface JobRunnerParts {
  /** By name. */
  readonly workers: ReadonlyMap<string, ServedWorker>;
  /** Returns the name of a worker that was given to the queue worker. */
  readonly nameOf: (worker: object) => string | undefined;
  readonly slots: number;
  readonly dispatcher: Dispatcher | undefined;
  readonly middleware: readonly Middleware[];
  readonly counts: Counts;
  readonly log: Log;
  /** This machine cannot run a worker: all jobs are to be given back. */
  readonly onBroken: (error: Error) => void;
}

export class JobRunner {
  readonly #parts: JobRunnerParts;
  readonly #hasHooks: boolean;
  readonly #places: Places;

  constructor(parts: JobRunnerParts) {
    this.#parts = parts;
    this.#hasHooks = parts.middleware.length > 0 || parts.dispatcher !== undefined;
    this.#places = new Places(parts.slots);
  }

  /** Runs a job of a call of `Parallel`. @throws anything if it is to be given back */
  runBatch(job: BatchJob): Promise<readonly ItemOutcome[]> {
    return this.#counted(async () => {
      const outcomes = await this.#runTasks(job);
      this.#countItems(job, outcomes);
      return outcomes;
    });
  }

  /** Runs any other job. @throws what its worker threw, or why it was not run; anything if it is to be given back */
  runJob(job: SingleJob): Promise<unknown> {
    return this.#counted(async () => {
      const { items } = this.#parts.counts;
      try {
        const result = await this.#runSingle(job);
        items.succeeded += 1;
        return result;
      } catch (error) {
        if (!this.#hasFailed(error, job)) throw error;
        items.failed += 1;
        this.#tellFailure(job, `failed: ${inWords(error)}`, error);
        throw error;
      }
    }, job);
  }

  async #counted<T>(work: () => Promise<T>, single?: SingleJob): Promise<T> {
    const { jobs } = this.#parts.counts;
    jobs.active += 1;
    try {
      const result = await work();
      jobs.succeeded += 1;
      return result;
    } catch (error) {
      if (single && this.#hasFailed(error, single)) jobs.failed += 1;
      else jobs.returned += 1;
      throw error;
    } finally {
      jobs.active -= 1;
    }
  }

  async #runTasks(job: BatchJob): Promise<readonly ItemOutcome[]> {
    if (!this.#hasHooks) {
      const worker = this.#parts.workers.get(job.name);
      return worker ? await this.#run(worker, job) : failed(job, this.#unknown(job.name));
    }
    const { id, queue, name, attempt, signal } = job;
    const items = job.tasks.map(({ item }) => item);
    const served: ServedJob = { id, queue, name, attempt, signal, items, data: undefined };
    let outcomes: readonly ItemOutcome[] | undefined;
    try {
      await this.#within(served, async () => {
        outcomes = await this.#run(await this.#workerFor(served), job);
        return outcomes.map(toSettled);
      });
    } catch (error) {
      if (this.#isReturned(error, job)) throw error;
      return failed(job, error);
    }
    return outcomes ?? failed(job, SKIPPED);
  }

  async #runSingle(job: SingleJob): Promise<unknown> {
    const { id, queue, name, attempt, data, signal } = job;
    const served: ServedJob = { id, queue, name, attempt, signal, data, items: undefined };
    const task = { ...freshTask(0, data), attempt };
    const items: Items = {
      id,
      signal,
      tasks: [task],
      format: "json",
      timeout: undefined,
      wantsResults: true,
      wantsRuns: false,
      isSingly: true,
      signalOf: () => undefined,
    };
    return await this.#within(served, async () => {
      const [outcome] = await this.#run(await this.#workerFor(served), items);
      if ("failure" in outcome!) {
        // As any function for BullMQ, a worker of plain jobs may return nothing.
        if (hasReturnedNothing(outcome.failure)) return null;
        throw causeOf(outcome.failure);
      }
      return outcome!.result;
    });
  }

  /** @throws what a middleware or the job threw; a middleware cannot hide that the job is to be given back */
  async #within(job: ServedJob, run: () => Promise<unknown>): Promise<unknown> {
    const returned: unknown[] = [];
    const guarded = async (): Promise<unknown> => {
      try {
        return await run();
      } catch (error) {
        if (this.#isReturned(error, job)) returned.push(error);
        throw error;
      }
    };
    try {
      const result = await runWithin(this.#parts.middleware, job, guarded);
      if (returned.length === 0) return result;
    } catch (error) {
      if (returned.length === 0) throw error;
    }
    throw returned[0];
  }

  async #workerFor(job: ServedJob): Promise<ServedWorker> {
    const { dispatcher, workers, nameOf } = this.#parts;
    const choice = dispatcher ? await choose(dispatcher, job) : job.name;
    const name = typeof choice === "string" ? choice : nameOf(choice);
    const worker = name === undefined ? undefined : workers.get(name);
    if (worker) return worker;
    if (name !== undefined) throw this.#unknown(name);
    throw new Error(
      `The dispatcher chose a worker that was not given to this QueueWorker. ${this.#served}`,
    );
  }

  #unknown(name: string): Error {
    return new Error(`No worker of this machine is called "${name}". ${this.#served}`);
  }

  get #served(): string {
    return `It serves: ${[...this.#parts.workers.keys()].map((name) => `"${name}"`).join(", ")}`;
  }

  async #run(worker: ServedWorker, items: Items): Promise<readonly ItemOutcome[]> {
    const { signal, tasks } = items;
    signal.throwIfAborted();
    // The children of one kind are as many as the places.
    const kinds = [...this.#parts.workers.values()].reduce((sum, { kinds }) => sum + kinds, 0);
    const held = kinds > 1 ? await this.#places.take(tasks.length, signal) : undefined;
    try {
      signal.throwIfAborted();
      return await worker.run(held ? { ...items, onLess: (open) => held.keep(open) } : items);
    } catch (error) {
      if (isOfMachine(error)) {
        this.#parts.onBroken(error);
        await aborted(signal);
      }
      throw error;
    } finally {
      held?.keep(0);
    }
  }

  #isReturned(error: unknown, { signal }: { readonly signal: AbortSignal }): boolean {
    return signal.aborted || isOfMachine(error);
  }

  #hasFailed(error: unknown, job: SingleJob): boolean {
    return !this.#isReturned(error, job) && !job.isPostponed(error);
  }

  #countItems(job: BatchJob, outcomes: readonly ItemOutcome[]): void {
    const { items } = this.#parts.counts;
    let failures = 0;
    let first: Error | undefined;
    for (const outcome of outcomes) {
      if (!("failure" in outcome)) continue;
      failures += 1;
      first ??= outcome.failure.error;
    }
    items.succeeded += outcomes.length - failures;
    items.failed += failures;
    if (!first) return;
    const what = `has ${failures} of ${outcomes.length} items that failed, the first: ${first.message}`;
    this.#tellFailure(job, what, first);
  }

  #tellFailure({ id, queue, name, attempt }: BatchJob | SingleJob, what: string, err: unknown) {
    const facts = { queue, job: id, name, attempt, err };
    this.#parts.log("info", `Job ${id} ("${name}") of queue "${queue}" ${what}`, facts);
  }
}

const SKIPPED = new Error("A middleware of the machine has skipped it: it did not call next()");

/** Outcomes of a job whose items were not run. */
function failed({ tasks }: BatchJob, cause: unknown): ItemOutcome[] {
  return tasks.map((task) => {
    const what = `failed: ${inWords(cause)}`;
    const error = new ItemError(factsOf(task, NOWHERE), what, { cause });
    return { failure: { error, isRetriable: cause !== SKIPPED } };
  });
}

function hasReturnedNothing({ error }: Failure): boolean {
  return error instanceof ResultTypeError && /^Item 0 returned undefined[, ]/.test(error.message);
}

/** What the worker threw, as the job is known by itself, and not as an item; if its child died, how. */
function causeOf({ error }: Failure): Error {
  const { cause } = error;
  if (error.constructor === ItemError && cause instanceof Error) return cause;
  // It has one item, of which its user does not know; and BullMQ keeps results as JSON, whatever an option says.
  error.message = error.message.replace(/^Item 0 /, "The job ").replace(` (${USE_ADVANCED})`, "");
  return error;
}

function toSettled(outcome: ItemOutcome): PromiseSettledResult<unknown> {
  return "failure" in outcome
    ? { status: "rejected", reason: outcome.failure.error }
    : { status: "fulfilled", value: outcome.result };
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
