/**
 * A function as a worker. Another process finds the function as it finds a class: by the module that defines it. Here
 * also: what a worker is known by, its function or its class.
 */
import { workerName } from "./current-context.js";
import type { NotKept } from "./kept-by-json.js";
import { AnyWorker, type TaskContext } from "./worker.js";

/**
 * A function that `new Parallel` takes in place of a worker: it does the work of one item, as `process` of a worker does.
 *
 * @remarks
 * It is found in its module as a class is, so it may use everything at the top level of that module, but no variables of
 * a function around it. Its own properties travel as the fields of a worker do. For `preload`, `setup` and `teardown`, write a class.
 *
 * @typeParam Item - what it receives: any JSON value, or a `Uint8Array`; with `serialization: "advanced"` any value that structured clone keeps
 * @typeParam Result - what it returns: the same
 *
 * @example
 * ```ts
 * import { Parallel } from "forkmap";
 *
 * export function measure(word: string): { length: number } {
 *   return { length: word.length };
 * }
 *
 * const sizes = await new Parallel(measure).mapProcesses(["one", "three"]);
 * console.log(sizes[1]?.length); // 5
 * ```
 */
export type WorkerFunction<Item, Result> = (
  item: Item,
  task: TaskContext,
) => Result | Promise<Result>;

export class FunctionWorker<Item, Result> extends AnyWorker<Item, Result> {
  /** Its results are JSON values. Both are read by name, as two copies of this package may meet in one process. */
  static readonly resultFormat = "json";
  static readonly isOfFunction = true;
  readonly definition: WorkerFunction<Item, Result>;

  constructor(definition: WorkerFunction<Item, Result>) {
    super();
    this.definition = definition;
  }

  override process(item: Item, task: TaskContext): Result | Promise<Result> {
    // Not called as a method: a function has no `this`.
    const { definition } = this;
    return definition(item, task);
  }
}

type Advice = 'JSON does not keep it: set serialization: "advanced"';

/** A worker whose items and results JSON keeps. */
export type JsonKeeps<Item, Result> =
  | (AnyWorker<Item, Result> & { readonly notKeptByJson?: Advice | undefined })
  | (WorkerFunction<Item, Result> & KeptOrAdvice<NotKept<Item> | NotKept<Result>>);

type KeptOrAdvice<What> = [What] extends [never] ? unknown : { readonly [Key in Advice]: What };

/** What another process has to find. */
export interface Definition extends Function {
  readonly forkSafe?: unknown;
  readonly version?: unknown;
}

/** Returns the function that the worker was made of, or else its class. */
export function definitionOf(worker: object): Definition {
  return isOfFunction(worker) ? worker.definition : worker.constructor;
}

export function isOfFunction(worker: object): worker is FunctionWorker<unknown, unknown> {
  return (worker.constructor as { isOfFunction?: unknown }).isOfFunction === true;
}

/** Returns the name of a worker in frames and messages. */
export function nameOf(worker: object): string {
  return workerName(definitionOf(worker));
}

/** Whether it is an arrow function that seems to use what `this` is around it; a nested function may use its own. */
export function usesThis(definition: Definition): boolean {
  const text = String(definition);
  return ARROW.test(text) && /\b(this|super)\b/.test(text);
}

const ARROW = /^(async\s*)?(\([^]*?\)|[\p{ID_Continue}$]+)\s*=>/u;
