/** The name by which machines know a worker: set by its author, as names of classes and paths of modules differ between machines. */
import { describe } from "../system/describe.js";
import { definitionOf, nameOf } from "./function-worker.js";

/** What a name may be: BullMQ separates the parts of its keys by colons. */
const NAME = /^\w[\w.~@-]{0,99}$/;
export const WORKER_NAME_EXPECTED =
  "up to 100 letters, digits and _-.~@, of which a letter, digit or _ is the first";

/**
 * Returns `workerName` of the worker's class, or of the function that it was made of. One that is inherited does not count: the subclass
 * does other work.
 *
 * @throws TypeError if there is none, or it cannot be the name of a queue
 */
export function workerNameOf(worker: object): string {
  const definition = definitionOf(worker);
  const isFunction = definition !== worker.constructor;
  const { workerName } = definition as { workerName?: unknown };
  if (workerName !== undefined && Object.hasOwn(definition, "workerName")) {
    if (isWorkerName(workerName)) return workerName;
    throw new TypeError(
      `Expected \`workerName\` of ${nameOf(worker)} to be ${WORKER_NAME_EXPECTED}, such as "resize@1", got ${describe(workerName)}`,
    );
  }
  const name = nameOf(worker);
  const example = `"${exampleFor(name)}@1"`;
  const inherited = workerName === undefined ? "" : `. It only inherits ${describe(workerName)}`;
  throw new TypeError(
    isFunction
      ? `Expected the function ${name} to have a name that all machines know, such as \`${name}.workerName = ${example}\`${inherited}`
      : `Expected the class ${name} to have a name that all machines know, such as \`static workerName = ${example}\`${inherited}`,
  );
}

/** Whether it can be the name of a worker or of its queue. */
export function isWorkerName(value: unknown): value is string {
  return typeof value === "string" && NAME.test(value);
}

function exampleFor(name: string): string {
  return /^\w+$/.test(name) ? name.replaceAll(/(?<=[a-z0-9])[A-Z]/g, "-$&").toLowerCase() : "work";
}
