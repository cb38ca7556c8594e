/** Recreates a worker of a class or a function that has been found, and gives it the own fields that came from the parent. */
import { deserialize } from "node:v8";
import { workerName } from "../../worker/current-context.js";
import {
  type Definition,
  definitionOf,
  FunctionWorker,
  isOfFunction,
  type WorkerFunction,
} from "../../worker/function-worker.js";
import { likenessOf, setsPrivateFields, takesArguments } from "../../worker/likeness.js";
import type { WorkerSource } from "../../worker/worker-source.js";
import type { LoadedWorker } from "../items/runner-events.js";
import { LoadFailure } from "./load-failure.js";

type WorkerClass = { new (): LoadedWorker; readonly prototype: object; readonly name: string };

/** Creates the worker of a class or a function. */
export function construct(definition: Definition, source: WorkerSource): LoadedWorker {
  if (source.members !== undefined) return constructClass(definition as never, source);
  const worker = new FunctionWorker(definition as unknown as WorkerFunction<unknown, unknown>);
  constructed.add(worker);
  return worker;
}

/**
 * Calls the constructor if it takes no arguments, so that private fields and function fields exist; else creates the
 * object without it, as unpickling does in Python.
 */
function constructClass(type: WorkerClass, source: WorkerSource): LoadedWorker {
  const hasPrivate =
    type.length > 0 ? PRIVATE_FIELD.test(source.text) : setsPrivateFields(source.text);
  if (hasPrivate && takesArguments(type)) {
    throw new LoadFailure(
      `${workerName(source)} has private fields and a constructor that takes arguments: another process cannot create such an object. ` +
        "Use public fields, or a constructor without arguments and set the fields afterwards",
    );
  }
  if (type.length > 0) return Object.create(type.prototype) as LoadedWorker;
  try {
    const worker = new type();
    constructed.add(worker);
    return worker;
  } catch (error) {
    throw new LoadFailure(`new ${workerName(source)}() failed in another process`, {
      value: error,
    });
  }
}

/** Workers that `construct` created by calling their constructor, as opposed to those the rerun program created. */
const constructed = new WeakSet<LoadedWorker>();
const PRIVATE_FIELD = /\bthis\.#/;

/** Assigns the fields that came from the parent; those of a function are its own properties. */
export function addFields(worker: LoadedWorker, source: WorkerSource): void {
  const name = workerName(source);
  const isFunction = isOfFunction(worker);
  const holder = isFunction ? definitionOf(worker) : worker;
  const hasArguments = !isFunction && takesArguments(worker.constructor);
  for (const [field, { reason, likeness }] of Object.entries(source.unsendable)) {
    const kind = isFunction ? "property" : "field";
    const what = `The ${kind} \`${field}\` of ${name} cannot travel to another process (${reason})`;
    const advice = isFunction ? "set it where the function is defined" : SET_FIELD;
    if (!Object.hasOwn(holder, field)) throw new LoadFailure(`${what}: ${advice}`);
    if (!constructed.has(worker)) continue;
    const made = (holder as unknown as Record<string, unknown>)[field];
    if (likenessOf(made, hasArguments) === likeness) continue;
    throw new LoadFailure(
      isFunction
        ? `${what}, and its module sets a different value: ${advice}`
        : `${what}, and \`new ${name}()\` creates a different value there: set it in preload() or setup(), from fields that can travel`,
    );
  }
  Object.assign(holder, deserialize(Buffer.from(source.fields, "base64")));
}

const SET_FIELD =
  "set it in the class body of a worker whose constructor takes no arguments, or in preload() or setup()";
