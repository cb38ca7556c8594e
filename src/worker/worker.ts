/**
 * What users extend: a worker says what is done to one item, and its hooks say what is done around it.
 * A worker holds no machinery; where and when its methods run is the business of `Parallel`.
 */

/** How a child process comes to be: `fork` is fork(2) of a warm process, `spawn` starts Node again. */
export type StartMethod = "fork" | "spawn";

/**
 * What an item runs in: a child process, by how it came to be (`command`: the program of a `CommandWorker`), a thread, or this
 * process itself (`inline`).
 */
export type Kind = StartMethod | "command" | "thread" | "inline";

/** One level of where code runs: the slot `num` of the worker called `name`, whose children are started by `kind`. */
export interface Frame {
  readonly kind: Kind;
  readonly num: number;
  readonly name: string;
}

/** The child a worker finds itself in. */
export interface Instance extends Frame {
  /** How many children the slot has had, this one included: 1 for the first. `num` and `generation` together never repeat. */
  readonly generation: number;
  /** The frame around this one when `Parallel` is used inside a child, else `undefined`. */
  readonly parent: Frame | undefined;
  /** All frames from the outermost to this one. */
  readonly context: readonly Frame[];
}

/** What `process` is told about its item. */
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
   * Reading it is what installs the signal handler; a worker that never does ends at once on SIGTERM. It does not keep
   * the child alive: one that waits for nothing else has nothing to wait for. A thread has no signals; it is told all the same.
   */
  readonly signal: AbortSignal;
}

/** What `Parallel` takes; extend `ParallelWorker` or `JsonWorker`, not this. */
export abstract class AnyWorker<Item, Result> {
  /**
   * Set to `true` by a worker whose children may be forked whatever its module and `preload` leave open, alive or under way.
   *
   * @remarks
   * Without it, children are spawned where a fork would share what must not be shared. With it, each forked child sees
   * inherited connections and pipes as closed by their peer, before any of its code runs; all else that is open is shared, and
   * what is under way when the fork server is ready never ends in a child. Threads are no matter of opinion: they are not copied.
   *
   * @defaultValue `false`
   */
  static readonly forkSafe?: boolean;
  /** Runs once in the fork server, before any fork: what it loads is shared by all children. A spawned child or a thread runs it itself. */
  preload?(): void | Promise<void>;
  /** Runs once in each child, before its first item. */
  setup?(instance: Instance): void | Promise<void>;
  /**
   * Does the work of one item, in a child.
   *
   * @param item - the item, as JSON carries it
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
 * Each item runs in a process of its own, unless there is a pool. Own fields of the instance travel to it by structured clone; a class that
 * takes no constructor arguments is constructed there first, so private fields and functions start anew.
 *
 * @typeParam Item - what `process` receives: any JSON value
 * @typeParam Result - `string` or `Uint8Array` (`void` for a worker that is only used with `eachProcess`)
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
export abstract class ParallelWorker<
  Item = string,
  // oxlint-disable-next-line typescript/no-invalid-void-type -- a worker for eachProcess returns nothing
  Result extends string | Uint8Array | void = string,
> extends AnyWorker<Item, Result> {}

/**
 * The base of a worker whose results are JSON values.
 *
 * @remarks
 * Results are written with sorted keys, so the same value is always the same bytes.
 *
 * @typeParam Item - what `process` receives: any JSON value
 * @typeParam Result - any JSON value
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
  /** @internal Read by name, not by `instanceof`: two copies of this package may meet in one process. */
  static readonly resultFormat = "json";
}
