/** The task of one `run`: an item that some caller awaits, with its own timeout, retries and signal. */
import type { ItemFormat, ResolvedOptions, RunOptions } from "../options.js";
import type { TaskOptions } from "../pool/task-owner.js";
import { monotonic } from "../system/monotonic.js";
import { Link, type Queue } from "../system/queue.js";
import { checkItem } from "../wire/items.js";
import type { EncodedItem } from "../wire/payload.js";
import type { Failure, Run, Task } from "../wire/task.js";
import type { CallerContext } from "./caller-context.js";
import type { RunPlace } from "./run-places.js";

export interface RunItemOptions extends RunOptions, Pick<ResolvedOptions, "tag"> {
  /** Number of the first attempt, if others were made elsewhere. @defaultValue 1 */
  readonly attempt?: number;
  /** Receives the run of the last attempt, before the promise of the item settles. */
  readonly onRun?: ((run: Run) => void) | undefined;
  /** After an abort, the promise settles only once the item no longer runs, also if its child runs others. @defaultValue false */
  readonly awaitsEnd?: boolean;
  /** `false`: the item may have any result, which is dropped. @defaultValue true */
  readonly wantsResult?: boolean;
}

export const NO_OPTIONS: RunItemOptions = {};

export interface OptionsOfRun extends TaskOptions {
  readonly retries: number;
  readonly signal: AbortSignal | undefined;
  readonly onRun: RunItemOptions["onRun"];
  readonly awaitsEnd: boolean;
}

export function optionsOf(
  { retries, timeout, signal, tag, onRun, awaitsEnd = false }: RunItemOptions,
  defaults: ResolvedOptions,
): OptionsOfRun {
  return {
    retries: retries ?? defaults.retries,
    timeout: timeout ?? defaults.timeout,
    signal,
    tag,
    onRun,
    awaitsEnd,
  };
}

/** Kept small: with ten thousand under way, most of what they cost is their way through V8's young generation. */
export class RunTask extends Link implements Task {
  readonly index: number;
  readonly item: unknown;
  attempt = 1;
  encoded: EncodedItem | undefined = undefined;
  strays = 0;
  declare failure?: Failure;
  declare key?: string;
  /** When it was added, in ms on the monotonic clock. */
  readonly since = monotonic();
  readonly options: OptionsOfRun;
  /** Of the caller, if the user's code runs in this process for the item. */
  readonly context: CallerContext | undefined;
  /** Where it runs, or waits for a child. */
  place: RunPlace | undefined = undefined;
  /** The pause before its next attempt; the last one, once that is over. */
  pause: NodeJS.Timeout | undefined = undefined;
  /** Why the caller does not want the result any more. */
  dismissal: { readonly reason: unknown } | undefined = undefined;
  isSettled = false;
  readonly #resolve: (result: unknown) => void;
  readonly #reject: (reason: unknown) => void;

  constructor(
    index: number,
    item: unknown,
    options: OptionsOfRun,
    context: CallerContext | undefined,
    resolve: (result: unknown) => void,
    reject: (reason: unknown) => void,
  ) {
    super();
    this.index = index;
    this.item = item;
    this.options = options;
    this.context = context;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  resolve(result: unknown): void {
    this.isSettled = true;
    this.#resolve(result);
  }

  reject(reason: unknown): void {
    this.isSettled = true;
    this.#reject(reason);
  }
}

/** Returns what is wrong with an item now. An object may have been changed while it waited; JSON would leave out a function. */
export function problemWith({ item, index }: RunTask, format: ItemFormat): Error | undefined {
  if (typeof item !== "object") return undefined;
  try {
    checkItem(item, index, format);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** Puts tasks back among those that wait, in the order in which all of them came. */
export function putBack(waiting: Queue<RunTask>, tasks: readonly RunTask[]): void {
  let next = waiting.first;
  let last = 0;
  for (const task of tasks) {
    // A child may hold one that was tried again behind others that came later.
    if (task.since < last) next = waiting.first;
    while (next && next.since < task.since) next = waiting.following(next);
    waiting.insert(task, next);
    last = task.since;
  }
}
