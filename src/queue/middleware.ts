/** The user's code around jobs: which worker a job is for, and what runs before and after it. All of it runs in the serving process. */
import { describe } from "../system/describe.js";
import type { WorkerFunction } from "../worker/function-worker.js";
import type { AnyWorker } from "../worker/worker.js";

/** A job that a machine has taken, as a dispatcher and middleware see it. */
export interface ServedJob {
  readonly id: string;
  readonly queue: string;
  /** Name of the worker; of a job that was added by other code, what that code called it. */
  readonly name: string;
  /** 1 when the job is first run. */
  readonly attempt: number;
  /** What was added to the queue; `undefined` for the items of a call of `Parallel`. */
  readonly data: unknown;
  /** The items of a call of `Parallel` that travel together; `undefined` for any other job. */
  readonly items: readonly unknown[] | undefined;
  /** Aborted when nobody wants the outcome any more, or when the job is given back. */
  readonly signal: AbortSignal;
}

/**
 * Runs around a job.
 *
 * @remarks
 * `next()` runs the job, and resolves to its result, or rejects with its error; for the items of a call of `Parallel` it resolves to what
 * became of each, as `Promise.allSettled` does. It can be called once.
 *
 * What the middleware returns is the result of the job; `undefined` after `next()`: what that gave. Without `next()` the job is not run. If the
 * middleware throws, the job fails. Items of a call of `Parallel` have their own results, which cannot be replaced: all of them fail if
 * it throws, or has not called `next()`.
 *
 * @example
 * ```ts
 * import type { Middleware } from "forkmap/bullmq";
 *
 * export const timed: Middleware = async (job, next) => {
 *   const start = performance.now();
 *   try {
 *     return await next();
 *   } finally {
 *     console.error(`${job.name} ${job.id}: ${Math.round(performance.now() - start)} ms`);
 *   }
 * };
 * ```
 */
export type Middleware = (job: ServedJob, next: () => Promise<unknown>) => unknown;

/** A worker of a `QueueWorker`, or its name. */
export type Choice = string | AnyWorker<never, unknown> | WorkerFunction<never, unknown>;

type DispatchFunction = (job: ServedJob) => Choice | Promise<Choice>;

/** Chooses which of the workers a job is for, as a function or as an object with it. */
export type Dispatcher = DispatchFunction | { readonly dispatch: DispatchFunction };

export async function choose(dispatcher: Dispatcher, job: ServedJob): Promise<Choice> {
  const choice: unknown =
    typeof dispatcher === "function" ? await dispatcher(job) : await dispatcher.dispatch(job);
  if (typeof choice === "string" || typeof choice === "function") return choice as Choice;
  if (typeof choice === "object" && choice !== null) return choice as Choice;
  throw new TypeError(
    `Expected the dispatcher to return a worker of this machine, or its name, for job ${job.id} of queue "${job.queue}", got ${describe(choice)}`,
  );
}

/**
 * Runs a job within all middleware, and never ends before the job itself has ended.
 *
 * @param run - runs the job; not called if a middleware does not call `next`
 * @returns the job's result, or what the middleware put in its place
 */
export async function runWithin(
  middleware: readonly Middleware[],
  job: ServedJob,
  run: () => Promise<unknown>,
): Promise<unknown> {
  const [first, ...inner] = middleware;
  if (!first) return await run();
  const call = new InnerCall(() => runWithin(inner, job, run));
  let result: unknown;
  try {
    result = await first(job, () => call.next());
  } catch (error) {
    await call.promise?.catch(() => {});
    throw error;
  }
  // A middleware that has awaited an error and returns has dealt with it.
  if (!call.isSettled) await call.promise;
  return result === undefined ? await call.promise?.catch(() => undefined) : result;
}

class InnerCall {
  promise: Promise<unknown> | undefined;
  isSettled = false;
  readonly #run: () => Promise<unknown>;

  constructor(run: () => Promise<unknown>) {
    this.#run = run;
  }

  /** The promises that it returns do not end the program if the middleware drops them. */
  next(): Promise<unknown> {
    const isFirst = this.promise === undefined;
    const promise = isFirst
      ? this.#run()
      : Promise.reject(
          new Error("Expected a middleware to call next() once, it has called it again"),
        );
    const settle = () => {
      if (isFirst) this.isSettled = true;
    };
    promise.then(settle, settle);
    if (isFirst) this.promise = promise;
    return promise;
  }
}
