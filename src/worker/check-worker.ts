/** Checks the worker given to `Parallel`, and describes what its `process` must return. */
import { describe } from "../system/describe.js";
import { isOfFunction } from "./function-worker.js";
import { AnyWorker } from "./worker.js";

/**
 * @param user - the class that it was given to
 * @throws TypeError unless `worker` is a function, or an instance of a class that has `process`
 */
export function checkWorker(worker: unknown, user = "Parallel"): void {
  if (typeof worker === "function") return checkFunction(worker, user);
  const isObject = typeof worker === "object" && worker !== null;
  if (isObject && typeof (worker as { process?: unknown }).process === "function") {
    const prototype = Object.getPrototypeOf(worker) as object | null;
    if (prototype !== null && prototype !== Object.prototype) return;
    throw new TypeError(
      "Expected an instance of a class that extends ParallelWorker, got an object literal: another process needs its class",
    );
  }
  const type = isObject ? (worker.constructor as { name?: unknown } | undefined) : undefined;
  if (isObject && worker instanceof AnyWorker) {
    throw new TypeError(
      `Expected ${String(type?.name) || "the worker"} to have a method process(item), and it has none`,
    );
  }
  throw new TypeError(
    `Expected a function, or an instance of a class that extends ParallelWorker and has process(item), got ${describe(worker)}`,
  );
}

function checkFunction(given: Function, user: string): void {
  const { name, prototype } = given as { name: string; prototype?: { process?: unknown } };
  const text = String(given);
  const isClass = /^class\b/.test(text);
  if (typeof prototype?.process === "function") {
    throw new TypeError(
      `Expected an instance of ${name || "a class"}, got the class itself: write ${user === "Parallel" ? `new Parallel(new ${name || "Worker"}())` : `new ${user}([new ${name || "Worker"}()])`}`,
    );
  }
  const expected =
    "Expected a function (item) => result, or an instance of a class that extends ParallelWorker";
  if (isClass) {
    throw new TypeError(
      `${expected}, got ${name ? `the class ${name}` : "a class"}, which has no method process(item)`,
    );
  }
  if (/\{\s*\[native code\]\s*\}$/.test(text)) {
    throw new TypeError(
      `${expected}, got ${name.trim() || "one"}, which is bound or built in and has no text of its own: write a function that calls it`,
    );
  }
  if (GENERATORS.has(Object.prototype.toString.call(given))) {
    throw new TypeError(
      `${expected}, got ${name || "one"}, which is a generator function: its result would be a generator, which cannot leave its process. Return an array`,
    );
  }
}

const GENERATORS = new Set(["[object GeneratorFunction]", "[object AsyncGeneratorFunction]"]);

/** How the results of a worker travel, other than texts and bytes; `text`: it has no others. */
export type ResultFormat = "text" | "json" | "advanced";

/**
 * Reads `resultFormat` instead of using `instanceof`: the worker's module may have its own copy of this package.
 *
 * @param serialization - the option
 */
export function resultFormatOf(worker: object, serialization: string): ResultFormat {
  if (serialization === "advanced") return "advanced";
  const { resultFormat } = worker.constructor as { resultFormat?: unknown };
  return resultFormat === "json" ? "json" : "text";
}

/** Whether results are JSON with sorted keys: those of a `JsonWorker`. A function returns an object as it has made it. */
export function sortsKeys(worker: object, serialization: string): boolean {
  return resultFormatOf(worker, serialization) === "json" && !isOfFunction(worker);
}

/** Whether a service is a supervisor: others are known to it, and not it to itself. */
export function isSupervisor(service: object): boolean {
  return (service.constructor as { isSupervisor?: unknown }).isSupervisor === true;
}

/** Returns what `process` must return, in words for an error message. */
export function expectedResult(worker: object, serialization: string): string {
  return EXPECTED[resultFormatOf(worker, serialization)];
}

const EXPECTED = {
  text: "a string or a Uint8Array (a JsonWorker returns JSON values)",
  json: "a JSON value or a Uint8Array",
  advanced: "a value that structured clone keeps",
};
