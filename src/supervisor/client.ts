/** What calls a supervisor from any program of the same user. */
import path from "node:path";
import { check, milliseconds, type Rules, typed } from "../option-rules.js";
import { describe } from "../system/describe.js";
import { SupervisorError } from "../errors.js";
import { Calls, type Fields } from "../wire/calls.js";
import { connectTo } from "../wire/socket-path.js";
import { readToken } from "../wire/supervisor-directory.js";
import { Answers, type InstanceAnswer } from "./answers.js";
import type { Dashboard, DashboardOptions } from "./dashboard.js";
import type {
  ChildAnswer,
  ChildOperation,
  SupervisorAnswers,
  SupervisorOperation,
} from "./operation-types.js";
import type { Target } from "./registry.js";
import type { SupervisionState } from "./supervision-state.js";

/** Options of `client.call`. */
export interface ClientCallOptions {
  /** In ms. @defaultValue 60_000, and the operation's own `duration` */
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Takes a long text in pieces, such as that of a heap snapshot; while a promise of it is pending, no more comes. Else the text is the answer. */
  readonly onChunk?: ((chunk: string, num: number | undefined) => void | Promise<void>) | undefined;
}

const DEFAULT_TIMEOUT_MS = 60_000;
/** Of those that one who is slow gets at once. */
const MAX_EVENTS = 1000;
const OPTION_RULES: Rules = {
  timeout: milliseconds(1),
  signal: {
    expected: "an AbortSignal",
    accepts: (value) => typeof (value as AbortSignal | null)?.addEventListener === "function",
  },
  onChunk: typed("function"),
};

/**
 * A connection to a supervisor, for diagnostics of its instances and to replace them.
 *
 * @remarks
 * It ends with the supervisor's process: calls reject then with a `SupervisorError` whose `reason` is `disconnected`, and `connect` gives another one as
 * soon as the supervisor has been restarted. From Node 24 on, `await using` closes it.
 *
 * @example
 * ```ts
 * import { SupervisorClient } from "forkmap/supervisor";
 *
 * export async function report(directory: string): Promise<void> {
 *   const client = await SupervisorClient.connect(directory);
 *   for (const { name, num, answer, error } of await client.call({ do: "thread_dump" }))
 *     console.log(name, num, error ?? answer);
 *   await client.close();
 * }
 * ```
 */
export class SupervisorClient {
  readonly #directory: string;
  readonly #calls: Calls;
  #pending = 0;
  readonly #hold: (isBusy: boolean) => void;

  private constructor(directory: string, calls: Calls, hold: (isBusy: boolean) => void) {
    this.#directory = directory;
    this.#calls = calls;
    this.#hold = hold;
  }

  /**
   * Connects to the supervisor of a directory. The connection does not keep the program alive, and calls do.
   *
   * @param directory - `supervisor.directory`, or what the supervisor was given
   * @throws SupervisorError when none runs there, or it does not let this program in
   * @throws TypeError when it is no path
   */
  static async connect(directory: string): Promise<SupervisorClient> {
    if (typeof directory !== "string" || directory === "")
      throw new TypeError(`Expected the directory of a supervisor, got ${describe(directory)}`);
    const place = path.resolve(directory);
    const token = tokenIn(place);
    const socket = connectTo(place);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", (error) => reject(noneIn(place, error)));
    });
    const calls = new Calls(socket, {
      side: "connected",
      onCall: ({ message }) => Promise.reject(new Error(`A client does not answer ${message.do}`)),
    });
    await calls.call({ do: "hello", token }, { timeout: DEFAULT_TIMEOUT_MS });
    socket.unref();
    const hold = (isBusy: boolean) => void (isBusy ? socket.ref() : socket.unref());
    return new SupervisorClient(place, calls, hold);
  }

  /**
   * Calls an operation of one child.
   *
   * @param operation - `do` names it; the others are its arguments
   * @param target - `num`: of which instance; `pool`: of which worker's pool
   * @returns what it answers; with `onChunk`, without the text
   * @throws SupervisorError when it is refused, fails, or is not answered in time
   * @throws TypeError when an argument is wrong
   */
  async call<const Operation extends ChildOperation>(
    operation: Operation,
    target: Target & { readonly num: number },
    options?: ClientCallOptions,
  ): Promise<ChildAnswer<Operation>>;
  /**
   * Calls an operation of the supervisor. `restart` and `signal` are for the instances that are meant, or for all.
   *
   * @returns what it answers
   */
  async call<const Operation extends SupervisorOperation>(
    operation: Operation,
    target?: Target,
    options?: ClientCallOptions,
  ): Promise<SupervisorAnswers[Operation["do"]]>;
  /** Asks the supervisor what it knows of all. @returns the state of instances and monitors, and the latest events */
  async call(
    operation: { readonly do: "status" },
    target?: { readonly num?: undefined; readonly pool?: undefined },
    options?: ClientCallOptions,
  ): Promise<SupervisionState>;
  /**
   * Calls an operation of all children, or of all in one pool.
   *
   * @returns the answer of each, or why it has none
   */
  async call<const Operation extends ChildOperation>(
    operation: Operation,
    target?: { readonly num?: undefined; readonly pool?: string | undefined },
    options?: ClientCallOptions,
  ): Promise<readonly InstanceAnswer<ChildAnswer<Operation>>[]>;
  /** Where it is not known whether a `num` is given. */
  async call(
    operation: ChildOperation,
    target?: Target,
    options?: ClientCallOptions,
  ): Promise<unknown>;
  async call(
    operation: ChildOperation | SupervisorOperation,
    target: Target = {},
    options: ClientCallOptions = {},
  ): Promise<unknown> {
    if (typeof operation?.do !== "string")
      throw new TypeError(
        `Expected an operation such as { do: "status" }, got ${describe(operation)}`,
      );
    if ((operation.do as string) === "watch")
      throw new TypeError("`watch` has no end: use client.watch()");
    check(options, OPTION_RULES, "", (name) => `Unknown option \`${name}\` of call`);
    const { do: name, file, ...args } = operation as ChildOperation;
    const answers = new Answers(options.onChunk);
    const last = await this.#call(
      { do: name, args, target, file },
      {
        timeout: timeoutFor(args as { duration?: number }, options),
        signal: options.signal,
        onAnswer: (piece) => answers.take(piece),
      },
    );
    return answers.result(last);
  }

  /**
   * Yields the state of all instances: now, then every second and whenever something happens.
   *
   * @param signal - ends it, without an error
   * @throws SupervisorError when the supervisor goes away
   *
   * @example
   * ```ts
   * import type { SupervisorClient } from "forkmap/supervisor";
   *
   * export async function log(client: SupervisorClient, signal: AbortSignal): Promise<void> {
   *   for await (const { events } of client.watch(signal))
   *     for (const { name, num, what, text } of events) console.log(`${name} num ${num} ${what}: ${text}`);
   * }
   * ```
   */
  async *watch(signal?: AbortSignal): AsyncGenerator<SupervisionState> {
    const ended = new AbortController();
    const waiting: SupervisionState[] = [];
    let wake: (() => void) | undefined;
    let error: unknown;
    let isOver = false;
    const call = this.#call(
      { do: "watch" },
      {
        signal: signal ? AbortSignal.any([signal, ended.signal]) : ended.signal,
        onAnswer: (state) => {
          const last = waiting.pop();
          waiting.push(joined(last, state as SupervisionState));
          wake?.();
        },
      },
    );
    call
      .catch((reason: unknown) => (error = reason))
      .finally(() => {
        isOver = true;
        wake?.();
      });
    try {
      for (;;) {
        const state = waiting.shift();
        if (state) yield state;
        else if (isOver) break;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      ended.abort();
    }
    if (error !== undefined && !signal?.aborted) throw error as Error;
  }

  /**
   * Serves a page about all instances on loopback: open its `url`. It has connections of its own, and keeps the program alive until it is closed.
   *
   * @throws TypeError for a `host` that other machines can reach
   * @throws Error when the port is in use
   *
   * @example
   * ```ts
   * import type { SupervisorClient } from "forkmap/supervisor";
   *
   * export async function openPage(client: SupervisorClient): Promise<void> {
   *   const { url } = await client.dashboard({ port: 9300 });
   *   console.log(`Open ${url}`);
   * }
   * ```
   */
  async dashboard(options?: DashboardOptions): Promise<Dashboard> {
    const { serveDashboard } = await import("./dashboard.js");
    const { ConnectedSource } = await import("./dashboard/connected-source.js");
    const connect = () => SupervisorClient.connect(this.#directory);
    return await serveDashboard(new ConnectedSource(connect), options);
  }

  /** Ends the connection; calls under way reject. Can be called again. */
  async close(): Promise<void> {
    this.#calls.close();
    await this.#calls.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #call(
    message: Fields & { readonly do: string },
    options: Parameters<Calls["call"]>[1],
  ): Promise<unknown> {
    this.#pending += 1;
    this.#hold(true);
    try {
      return await this.#calls.call(message, options);
    } finally {
      this.#pending -= 1;
      if (this.#pending === 0) this.#hold(false);
    }
  }
}

/** One who is slow gets the newest state, with all that has happened. */
function joined(last: SupervisionState | undefined, next: SupervisionState): SupervisionState {
  return last ? { ...next, events: [...last.events, ...next.events].slice(-MAX_EVENTS) } : next;
}

function timeoutFor(
  { duration }: { readonly duration?: unknown },
  { timeout }: ClientCallOptions,
): number {
  if (timeout !== undefined) return timeout;
  return DEFAULT_TIMEOUT_MS + (typeof duration === "number" && duration > 0 ? duration : 0);
}

function tokenIn(directory: string): string {
  try {
    return readToken(directory);
  } catch (error) {
    throw noneIn(directory, error as Error);
  }
}

function noneIn(directory: string, error: Error): SupervisorError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EACCES" || code === "EPERM")
    return new SupervisorError(`${directory} belongs to the supervisor of another user`, "refused");
  return new SupervisorError(
    `No supervisor runs in ${directory}: it was not started, or has ended (${code ?? error.message})`,
    "disconnected",
  );
}
