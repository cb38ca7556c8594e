/** Checks whether JSON can carry a value: JSON silently turns NaN into `null` and a Map into `{}`; we report both. */
import { describe } from "../system/describe.js";

/** Why a value would not survive JSON. */
export interface JsonProblem {
  /** Path inside the value: `a.0.b`, empty for the value itself. */
  readonly at: string;
  /** Completes "it ...". */
  readonly what: string;
  /** What the value's own code threw. */
  readonly thrown?: { readonly error: unknown };
}

/** Returns why a value would not survive JSON, or `undefined`. Never throws, whatever the value's own code does. */
export function jsonProblem(value: unknown): JsonProblem | undefined {
  try {
    return problemOf(value, "", []);
  } catch (error) {
    return problemOfThrown(error);
  }
}

/** Returns why a value cannot become JSON at all, from what was thrown by the attempt. */
export function problemOfThrown(error: unknown): JsonProblem {
  // A stack overflow: some thousand levels of nesting fill the stack. JSON.stringify throws the same error.
  if (error instanceof RangeError) return { at: "", what: "is nested too deeply" };
  return { at: "", what: `threw ${shown(error)} when it was read`, thrown: { error } };
}

export function inWords({ at, what }: JsonProblem): string {
  return `${at === "" ? "it" : `\`${at}\``} ${what}`;
}

/** Describes a value with its problem: for a Map in an array, "an array: `0` is an instance of Map". */
export function describeWith(value: unknown, problem: JsonProblem): string {
  const { at, what } = problem;
  const own = `is ${describe(value)}`;
  if (at === "" && what.startsWith(own)) return what.slice("is ".length);
  return `${describe(value)}: ${inWords(problem)}`;
}

/** @param above - the objects that contain the value, from the outermost */
function problemOf(
  value: unknown,
  key: string | number,
  above: object[],
  isMade = false,
): JsonProblem | undefined {
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
  if (!isMade && typeof (value as { toJSON?: unknown }).toJSON === "function") {
    return problemOfMade(value as { toJSON(key: string): unknown }, key, above);
  }
  if (above.includes(value)) return { at: "", what: "contains itself" };
  above.push(value);
  const problem = Array.isArray(value) ? inArray(value, above) : inObject(value, above);
  above.pop();
  return problem;
}

function inArray(value: readonly unknown[], above: object[]): JsonProblem | undefined {
  for (let i = 0; i < value.length; i += 1) {
    const problem = problemOf(value[i], i, above);
    if (problem) return within(i, problem);
  }
  return undefined;
}

function inObject(value: object, above: object[]): JsonProblem | undefined {
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
): JsonProblem | undefined {
  if (Buffer.isBuffer(value)) return undefined;
  if (value instanceof Date && Number.isNaN(value.getTime())) {
    return { at: "", what: "is an invalid Date" };
  }
  const made = value.toJSON(String(key));
  if (made === undefined) return { at: "", what: "has a `toJSON` that returns undefined" };
  return problemOf(made, key, above, true);
}

function within(key: string | number, problem: JsonProblem): JsonProblem {
  return { ...problem, at: problem.at === "" ? String(key) : `${key}.${problem.at}` };
}

/** Whether a value is an instance of a class or a generator, and not a plain object of this or another realm. */
function isInstance(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype !== null && Object.getPrototypeOf(prototype) !== null;
}

function isNoJson(value: object): boolean {
  return NOT_JSON.some((type) => value instanceof type) || ArrayBuffer.isView(value);
}

/** JSON silently turns collections into `{}`, and `fast-json-stable-stringify` does not unwrap boxes. */
const COLLECTIONS = [Map, Set, WeakMap, WeakSet, Promise, RegExp, Error, ArrayBuffer];
const BOXES = [Number, String, Boolean, BigInt, Symbol];
const NOT_JSON = [...COLLECTIONS, ...BOXES];

function shown(error: unknown): string {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : describe(error);
  } catch {
    return "an error";
  }
}
