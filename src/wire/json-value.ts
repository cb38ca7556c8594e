/** Checks whether JSON can carry a value: JSON silently turns NaN into `null` and a Map into `{}`; we report both. */
import { describe } from "../system/describe.js";
import { isInstance, problemOfThrown, type ValueProblem, within } from "./value-problem.js";

/** Returns why a value would not survive JSON, or `undefined`. Never throws, whatever the value's own code does. */
export function jsonProblem(value: unknown): ValueProblem | undefined {
  try {
    return problemOf(value, "", []);
  } catch (error) {
    return problemOfThrown(error);
  }
}

/** @param above - the objects that contain the value, from the outermost */
function problemOf(
  value: unknown,
  key: string | number,
  above: object[],
  isMade = false,
): ValueProblem | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined;
    case "number":
      return Number.isFinite(value) ? undefined : { at: "", what: `is ${describe(value)}` };
    case "object":
      if (value === null) return undefined;
      break;
    default:
      return { at: "", what: `is ${describe(value)}` };
  }
  // The `toJSON` of a Buffer makes it a long array of numbers, which no other code takes for bytes.
  if (ArrayBuffer.isView(value)) return { at: "", what: `is ${describe(value)}` };
  if (!isMade && typeof (value as { toJSON?: unknown }).toJSON === "function") {
    return problemOfMade(value as { toJSON(key: string): unknown }, key, above);
  }
  if (above.includes(value)) return { at: "", what: "contains itself" };
  above.push(value);
  const problem = Array.isArray(value) ? inArray(value, above) : inObject(value, above);
  above.pop();
  return problem;
}

function inArray(value: readonly unknown[], above: object[]): ValueProblem | undefined {
  for (let i = 0; i < value.length; i += 1) {
    const problem = problemOf(value[i], i, above);
    if (problem) return within(i, problem);
  }
  return undefined;
}

function inObject(value: object, above: object[]): ValueProblem | undefined {
  if (Object.getPrototypeOf(value) !== Object.prototype && isNoJson(value)) {
    return { at: "", what: `is ${describe(value)}` };
  }
  const keys = Object.keys(value);
  if (keys.length === 0 && isInstance(value)) {
    return { at: "", what: `is ${describe(value)}, which JSON would turn into {}` };
  }
  for (const key of keys) {
    const member = (value as Record<string, unknown>)[key];
    // JSON omits such a property, as code that sets one to undefined expects.
    if (member === undefined) continue;
    const problem = problemOf(member, key, above);
    if (problem) return within(key, problem);
  }
  return undefined;
}

/** Checks what a value's `toJSON` returns: JSON carries that in place of the value. */
function problemOfMade(
  value: { toJSON(key: string): unknown },
  key: string | number,
  above: object[],
): ValueProblem | undefined {
  if (value instanceof Date && Number.isNaN(value.getTime())) {
    return { at: "", what: "is an invalid Date" };
  }
  const made = value.toJSON(String(key));
  if (made === undefined) return { at: "", what: "has a `toJSON` that returns undefined" };
  return problemOf(made, key, above, true);
}

function isNoJson(value: object): boolean {
  return NOT_JSON.some((type) => value instanceof type);
}

/** JSON silently turns collections into `{}`, and `fast-json-stable-stringify` does not unwrap boxes. */
const COLLECTIONS = [Map, Set, WeakMap, WeakSet, Promise, RegExp, Error, ArrayBuffer];
const BOXES = [Number, String, Boolean, BigInt, Symbol];
const NOT_JSON = [...COLLECTIONS, ...BOXES];
