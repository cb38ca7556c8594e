/** The task of one `run`: an item that some caller awaits, with its own timeout, retries and signal. */
import type { ResolvedOptions, RunOptions } from "../options.js";
import type { TaskOptions, TaskPlace } from "../pool/task-owner.js";
import { Link } from "../system/queue.js";
import type { LongItem } from "../wire/payload.js";
import type { Failure, Task } from "../wire/task.js";
import type { CallerContext } from "./caller-context.js";
import type { Abortable } from "./shared-signals.js";

export type RunItemOptions = RunOptions & Pick<ResolvedOptions, "tag">;

interface OptionsOfRun extends TaskOptions {
  readonly retries: number;
  readonly signal: AbortSignal | undefined;
}

export class RunTask extends Link implements Task, Abortable {
  readonly index: number;
  readonly item: unknown;
  attempt = 1;
  long: LongItem | undefined = undefined;
  strays = 0;
  declare failure?: Failure;
  declare key?: string;
  /** When it was added, in ms on the monotonic clock. */
  readonly since: number;
  readonly options: OptionsOfRun;
  /** Of the caller, if the user's code runs in this process for the item. */
  readonly context: CallerContext | undefined;
  /** Where it runs, or waits for a child. */
  place: TaskPlace | undefined = undefined;
  /** The pause before its next attempt. */
  pause: NodeJS.Timeout | undefined = undefined;
  /** Why the caller does not want the result any more. */
  dismissal: { readonly reason: unknown } | undefined = undefined;
  isSettled = false;
  readonly #resolve: (result: unknown) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #onAbort: (task: RunTask, reason: unknown) => void;

  constructor(
    { index, item, since, options, context }: RunFacts,
    resolve: (result: unknown) => void,
    reject: (reason: unknown) => void,
    onAbort: (task: RunTask, reason: unknown) => void,
  ) {
    super();
    this.index = index;
    this.item = item;
    this.since = since;
    this.options = options;
    this.context = context;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#onAbort = onAbort;
  }

  abort(reason: unknown): void {
    this.#onAbort(this, reason);
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

export type RunFacts = Pick<RunTask, "index" | "item" | "since" | "options" | "context">;
