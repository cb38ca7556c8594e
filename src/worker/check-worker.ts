/** Checks the worker given to `Parallel`, and describes what its `process` must return. */
import { describe } from "../system/describe.js";
import { AnyWorker } from "./worker.js";

/** @throws TypeError unless `worker` is an instance of a class that has `process` */
export function checkWorker(worker: unknown): void {
  const isObject = typeof worker === "object" && worker !== null;
  if (isObject && typeof (worker as { process?: unknown }).process === "function") {
    const prototype = Object.getPrototypeOf(worker) as object | null;
    if (prototype !== null && prototype !== Object.prototype) return;
    throw new TypeError(
      "Expected an instance of a class that extends ParallelWorker, got an object literal: another process needs its class",
    );
  }
  const isClass =
    typeof worker === "function" &&
    typeof (worker as { prototype?: { process?: unknown } }).prototype?.process === "function";
  const type = isObject ? (worker.constructor as { name?: unknown } | undefined) : undefined;
  if (isObject && worker instanceof AnyWorker) {
    throw new TypeError(
      `Expected ${String(type?.name) || "the worker"} to have a method process(item), and it has none`,
    );
  }
  throw new TypeError(
    isClass
      ? `Expected an instance of ${(worker as { name: string }).name}, got the class itself: write new Parallel(new ${(worker as { name: string }).name}())`
      : `Expected an instance of a class that extends ParallelWorker and has process(item), got ${describe(worker)}`,
  );
}

/** Reads `resultFormat` instead of using `instanceof`: the worker's module may have its own copy of this package. */
export function isJsonWorker(worker: object): boolean {
  return (worker.constructor as { resultFormat?: unknown }).resultFormat === "json";
}

/** Returns what `process` must return, in words for an error message. */
export function expectedResult(worker: object): string {
  return isJsonWorker(worker)
    ? "a JSON value"
    : "a string or a Uint8Array (a JsonWorker returns JSON values)";
}
