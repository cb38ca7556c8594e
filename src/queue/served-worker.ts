/**
 * A worker on a machine that serves it: its children, and the items of jobs on their way to them. An item that fails is an outcome; that no
 * child can run the worker at all is an error, as it says nothing about the item.
 */
import { Calls } from "../call/calls.js";
import type { RunItemOptions } from "../call/run-task.js";
import {
  ClosedError,
  ItemError,
  LaunchError,
  ResultTypeError,
  WorkerModuleError,
} from "../errors.js";
import { commandChoice, processChoice } from "../launch/choices.js";
import { type ItemFormat, type ParallelOptions, withCommandDefaults } from "../options.js";
import type { BatchJob, ItemOutcome } from "../pool/engine.js";
import type { Run } from "../wire/task.js";
import { type Command, commandOf } from "../worker/command-worker.js";
import { workerNameOf } from "../worker/worker-name.js";
import type { AnyWorker } from "../worker/worker.js";
import type { ResolvedQueueWorkerOptions } from "./resolve-options.js";
import { childOptions } from "./worker-options.js";

/** The items that a job has for one worker. */
export type Items = Pick<
  BatchJob,
  | "id"
  | "tasks"
  | "format"
  | "timeout"
  | "wantsResults"
  | "wantsRuns"
  | "signal"
  | "signalOf"
  | "isSingly"
> & {
  /** Receives how many items are left, after each. */
  readonly onLess?: ((open: number) => void) | undefined;
};

/**
 * How long a child that is killed may take to end by itself. Short: another machine is to have the jobs of a killed one within a second, and
 * none of them may still run here then.
 */
const FORCE_KILL_MS = 300;

export class ServedWorker {
  readonly name: string;
  readonly #worker: AnyWorker<never, unknown>;
  readonly #options: ParallelOptions<never, never>;
  readonly #command: Command | undefined;
  /** By how items travel to the children, most often of one kind. */
  readonly #calls = new Map<ItemFormat, Calls>();
  #isClosed = false;

  /** @throws TypeError if the worker has no name, or an option is not for it */
  constructor(
    worker: AnyWorker<never, unknown>,
    { given, processes, pool }: ResolvedQueueWorkerOptions,
  ) {
    this.name = workerNameOf(worker);
    this.#worker = worker;
    this.#command = commandOf(worker);
    const own = childOptions(given, this.#command !== undefined);
    const places = pool ? { pool: processes } : { pool, concurrency: processes };
    this.#options = { ...own, ...places, forceKillAfterDelay: FORCE_KILL_MS };
  }

  /** How many kinds of children there are. */
  get kinds(): number {
    return this.#calls.size;
  }

  get pids(): readonly number[] {
    return [...this.#calls.values()].flatMap((calls) => calls.stats().pids);
  }

  /** @throws WorkerModuleError, LaunchError if this machine cannot run the worker */
  async ready(): Promise<void> {
    await this.#callsFor("json").ready();
  }

  /**
   * Runs all items at once.
   *
   * @returns what became of each, in their order
   * @throws WorkerModuleError, LaunchError if this machine cannot run the worker; anything if the items are not wanted any more
   */
  run(items: Items): Promise<readonly ItemOutcome[]> {
    const { id, tasks, format, timeout, wantsResults, wantsRuns } = items;
    const { signal, signalOf, onLess } = items;
    const calls = this.#callsFor(format);
    if (this.#options.pool && tasks.length > 1 && !items.isSingly) {
      const tag = this.#options.output === "tag" ? () => id : undefined;
      return calls.runBatch({
        tasks,
        timeout: timeout ?? this.#options.timeout,
        wantsResults,
        wantsRuns,
        signal,
        tag,
        onLess,
      });
    }
    const outcomes: ItemOutcome[] = [];
    outcomes.length = tasks.length;
    const base: RunItemOptions = {
      retries: 0,
      signal,
      awaitsEnd: true,
      wantsResult: wantsResults,
      ...(timeout === undefined ? {} : { timeout }),
      ...(this.#options.output === "tag" ? { tag: () => id } : {}),
    };
    return new Promise((resolve, reject) => {
      let open = tasks.length;
      let refusal: { readonly reason: unknown } | undefined;
      if (open === 0) resolve(outcomes);
      const end = (): void => {
        open -= 1;
        onLess?.(open);
        if (open > 0) return;
        if (refusal) reject(refusal.reason);
        else resolve(outcomes);
      };
      const settle = (place: number, outcome: ItemOutcome): void => {
        outcomes[place] = outcome;
        end();
      };
      for (const [place, { index, item, attempt }] of tasks.entries()) {
        let run: Run | undefined;
        const own = signalOf(place);
        const options =
          attempt === 1 && !wantsRuns && !own
            ? base
            : {
                ...base,
                attempt,
                signal: own ? AbortSignal.any([signal, own]) : signal,
                onRun: wantsRuns ? (known: Run) => void (run = known) : undefined,
              };
        const fail = (reason: unknown): void => {
          const failure = failureOf(reason, signal, own);
          if (failure) return settle(place, { failure, run });
          // Not at once: none of the items may run any more when it is told.
          refusal ??= { reason };
          end();
        };
        try {
          calls
            .runItem(item, options, index)
            .then((result) => settle(place, run ? { result, run } : { result }), fail);
        } catch (error) {
          fail(error);
        }
      }
    });
  }

  /** Ends all children once they have nothing left to do. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#calls.values()].map((calls) => calls.close()));
  }

  /** Kills all children. */
  async destroy(reason: unknown): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#calls.values()].map((calls) => calls.destroy(reason)));
  }

  #callsFor(format: ItemFormat): Calls {
    if (this.#isClosed) throw new ClosedError("This machine has stopped serving");
    // A program is always talked to by its protocol; a class is by what the caller's items need.
    const kind = this.#command ? "protocol" : format === "advanced" ? format : "json";
    let calls = this.#calls.get(kind);
    if (!calls) this.#calls.set(kind, (calls = this.#makeCalls(kind)));
    return calls;
  }

  #makeCalls(serialization: ItemFormat): Calls {
    const command = this.#command;
    const options = (
      command ? withCommandDefaults(this.#options) : { ...this.#options, serialization }
    ) as ParallelOptions<never, never>;
    const choice = command ? commandChoice(command, options) : processChoice(this.#worker, options);
    return new Calls(this.#worker, options, false, choice, "run");
  }
}

/** Returns `undefined` if the error says nothing about the item. */
function failureOf(
  reason: unknown,
  signal: AbortSignal,
  own: AbortSignal | undefined,
): { readonly error: Error; readonly isRetriable: boolean } | undefined {
  if (reason instanceof ItemError) {
    return { error: reason, isRetriable: !(reason instanceof ResultTypeError) };
  }
  if (signal.aborted || isOfMachine(reason) || reason instanceof ClosedError) return undefined;
  if (own?.aborted || reason instanceof Error) {
    const error = reason instanceof Error ? reason : new Error(`Aborted: ${String(reason)}`);
    return { error, isRetriable: false };
  }
  return undefined;
}

/** Whether the error says that this machine cannot run the worker. */
export function isOfMachine(error: unknown): error is WorkerModuleError | LaunchError {
  return error instanceof WorkerModuleError || error instanceof LaunchError;
}
