/**
 * One item inside a child, forked or spawned: reads it, runs the worker's hooks and `process`, puts the result into
 * scratch and returns the last word. How that word reaches the parent is the caller's business.
 */
import stringify from "fast-json-stable-stringify";
import { CONTEXT } from "../context.js";
import { isJsonWorker } from "../check-worker.js";
import { describe } from "../describe.js";
import { recordError } from "../error-record.js";
import { jsonProblem } from "../json-value.js";
import { readPayload, writeBytes, writeJson, writeText } from "../payload.js";
import type { LastWord, Payload } from "../protocol.js";
import type { Frame, JsonWorker, ParallelWorker, StartMethod, TaskContext } from "../worker.js";

export type LoadedWorker =
  | ParallelWorker<unknown, string | Uint8Array>
  | JsonWorker<unknown, unknown>;

/** Where the item runs: what all items of one child server have in common. */
export interface Surroundings {
  readonly kind: StartMethod;
  readonly name: string;
  readonly context: readonly Frame[];
}

export async function runItem(
  worker: LoadedWorker,
  payload: Payload,
  around: Surroundings,
): Promise<LastWord> {
  try {
    const task = new Task(payload, around);
    (globalThis as Record<symbol, unknown>)[CONTEXT] = task.context;
    const item =
      payload.itemFile === undefined
        ? payload.item
        : readPayload(payload.itemFile, payload.itemKind!);
    if (worker.setup) await worker.setup(task);
    const result = await worker.process(item, task);
    const word = deliver(worker, result, payload.resultFile);
    if (worker.teardown) await worker.teardown();
    return word;
  } catch (thrown) {
    return { status: "error", error: recordError(thrown) };
  }
}

function deliver(worker: LoadedWorker, result: unknown, file: string | undefined): LastWord {
  if (file === undefined) return { status: "ok" };
  if (isJsonWorker(worker)) {
    const problem = jsonProblem(result);
    return problem === undefined
      ? { status: "ok", ...writeJson(file, stringify(result)) }
      : { status: "mistyped", got: `${describe(result)}: ${problem}` };
  }
  if (typeof result === "string") return { status: "ok", ...writeText(file, result) };
  if (result instanceof Uint8Array) return { status: "ok", ...writeBytes(file, result) };
  return { status: "mistyped", got: describe(result) };
}

class Task implements TaskContext {
  readonly index: number;
  readonly attempt: number;
  readonly num: number;
  readonly generation: number;
  readonly kind: StartMethod;
  readonly name: string;
  readonly parent: Frame | undefined;
  readonly context: readonly Frame[];
  #controller: AbortController | undefined;

  constructor(payload: Payload, around: Surroundings) {
    this.index = payload.index;
    this.attempt = payload.attempt;
    this.num = payload.num;
    this.generation = payload.generation;
    this.kind = around.kind;
    this.name = around.name;
    this.parent = around.context.at(-1);
    this.context = [...around.context, { kind: around.kind, num: payload.num, name: around.name }];
  }

  /** Made on first use: the handler it needs would keep SIGTERM from ending a worker that loops for ever. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      const controller = new AbortController();
      process.once("SIGTERM", () =>
        controller.abort(new Error("The child was asked to end (SIGTERM)")),
      );
      this.#controller = controller;
    }
    return this.#controller.signal;
  }
}
