/**
 * The folder holds what users extend, and how another process finds a worker's class again. Here: the base classes. A
 * worker defines what is done to one item, its hooks what is done around it; `Parallel` decides where and when.
 */

import type { NotKept } from "./kept-by-json.js";

/** How a child process is started: `fork` is fork(2) of a warm process, `spawn` starts Node again. */
export type StartMethod = "fork" | "spawn";

/**
 * What an item runs in: a child process, by its start method (`command`: the program of a `CommandWorker`), a thread,
 * or this process itself (`inline`).
 */
export type Kind = StartMethod | "command" | "thread" | "inline";

/** One level of where code runs: the slot `num` of the worker called `name`, whose children are started by `kind`. */
export interface Frame {
  readonly kind: Kind;
  readonly num: number;
  readonly name: string;
}

/** The child that a worker runs in. */
export interface Instance extends Frame {
  /** How many children the slot has had, this one included: 1 for the first. `num` and `generation` together never repeat. */
  readonly generation: number;
  /** The frame around this one when `Parallel` is used inside a child, else `undefined`. */
  readonly parent: Frame | undefined;
  /** All frames from the outermost to this one. */
  readonly context: readonly Frame[];
}

/** What `process` receives with its item. */
export interface TaskContext extends Instance {
  /** Position of the item in the input. */
  readonly index: number;
  /** 1 for the first try, one more for each of `retries`. */
  readonly attempt: number;
  /**
   * Aborts when the child is asked to end with SIGTERM (a timeout, an abort, `destroy`), so that work can be wound up
   * within `forceKillAfterDelay`.
   *
   * @remarks
   * Reading this property installs the signal handler; a worker that never reads it ends at once on SIGTERM.
   * The handler does not keep the child alive: a child that only waits for it exits. In a thread, which has no signals,
   * `signal` aborts too.
   */
  readonly signal: AbortSignal;
}

/** What `Parallel` takes; extend `ParallelWorker` or `JsonWorker`, not this. */
export abstract class AnyWorker<Item, Result> {
  /**
   * Set this to `true` to fork children whatever the module and `preload` of the worker leave open, alive or pending.
   *
   * @remarks
   * By default, children are spawned where a fork would share what must not be shared. With `true`, each
   * forked child sees inherited connections and pipes as closed by their peer, before any of its code runs. Everything
   * else that is open is shared, and operations pending when the fork server is ready never complete in a child.
   * Threads still prevent fork: fork(2) does not copy them.
   *
   * @defaultValue `false`
   */
  static readonly forkSafe?: boolean;
  /** Runs once in the fork server, before any fork: all children share what it loads. A spawned child or a thread runs it itself. */
  preload?(): void | Promise<void>;
  /** Runs once in each child, before its first item. */
  setup?(instance: Instance): void | Promise<void>;
  /**
   * Does the work of one item, in a child.
   *
   * @param item - the item, as the option `serialization` lets it travel
   * @param task - which item, which slot, which attempt
   * @returns the result
   */
  abstract process(item: Item, task: TaskContext): Result | Promise<Result>;
  /** Runs once in each child that ends normally, after its last item. */
  teardown?(): void | Promise<void>;
}

/**
 * The base of every worker whose results are text or bytes: extend it and override `process`.
 *
 * @remarks
 * Each item runs in a process of its own, unless there is a pool. Own fields of the instance travel there by
 * structured clone. A class that takes no constructor arguments is first constructed there, so private fields and
 * functions start anew.
 *
 * @typeParam Item - what `process` receives: any JSON value, or a `Uint8Array`
 * @typeParam Result - `string` or `Uint8Array` (`void` for a worker that is only used with `eachProcess`). With `serialization: "advanced"`
 * items and results are any values that structured clone keeps
 *
 * @example
 * ```ts
 * import { Parallel, ParallelWorker } from "forkmap";
 *
 * export class Shout extends ParallelWorker {
 *   process(word: string): string {
 *     return word.toUpperCase();
 *   }
 * }
 *
 * const words = await new Parallel(new Shout()).mapProcesses(["a", "b"]);
 * console.log(words.join(" ")); // A B
 * ```
 */
export abstract class ParallelWorker<Item = string, Result = string> extends AnyWorker<
  Item,
  Result
> {
  /** Never set. For the compiler: which of its items and results need `serialization: "advanced"`. */
  declare readonly notKeptByJson?: NotKept<Item> | NoText<Result> | undefined;
}

type NoText<Result> = unknown extends Result
  ? never
  : // oxlint-disable-next-line typescript/no-invalid-void-type -- a worker for eachProcess returns nothing
    Exclude<Result, string | Uint8Array | void> | NotKept<Extract<Result, Uint8Array>>;

/**
 * The base of a worker whose results are JSON values.
 *
 * @remarks
 * Results are written with sorted keys, so the same value is always the same bytes. A function is such a worker too, without hooks.
 *
 * @typeParam Item - what `process` receives: any JSON value, or a `Uint8Array`
 * @typeParam Result - the same. `new Parallel` accepts types that JSON keeps; a `Date`, a `Map` or a method is an error of the compiler
 *
 * @example
 * ```ts
 * import { JsonWorker, Parallel } from "forkmap";
 *
 * export class Measure extends JsonWorker<string, { length: number }> {
 *   process(word: string): { length: number } {
 *     return { length: word.length };
 *   }
 * }
 *
 * const sizes = await new Parallel(new Measure()).mapProcesses(["one", "three"]);
 * console.log(sizes[1]?.length); // 5
 * ```
 */
export abstract class JsonWorker<Item, Result> extends AnyWorker<Item, Result> {
  /** Never set. For the compiler: what of its items and results JSON does not keep. */
  declare readonly notKeptByJson?: NotKept<Item> | NotKept<Result> | undefined;
  /** @internal Read by name, not by `instanceof`: two copies of this package may meet in one process. */
  static readonly resultFormat = "json";
}
