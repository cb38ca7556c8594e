/** What JSON can carry: it makes `null` of NaN and `{}` of a Map without a word, and that must not happen silently. */
import { describe } from "../system/describe.js";

/** Why a value is not the same after JSON. */
export interface JsonProblem {
  /** Where in the value: `a.0.b`, empty for the value itself. */
  readonly at: string;
  /** Completes "it ...". */
  readonly what: string;
  /** What code of the value itself has thrown. */
  readonly thrown?: { readonly error: unknown };
}

/** What keeps a value from being the same after JSON, or `undefined`. Never throws, whatever the value's own code does. */
export function jsonProblem(value: unknown): JsonProblem | undefined {
  try {
    return problemOf(value, "", []);
  } catch (error) {
    return problemOfThrown(error);
  }
}

/** What keeps a value from becoming JSON at all, told by what was thrown when it was tried. */
export function problemOfThrown(error: unknown): JsonProblem {
  // Of the stack, which a value of some thousand levels fills; JSON.stringify throws the same.
  if (error instanceof RangeError) return { at: "", what: "is nested too deeply" };
  return { at: "", what: `threw ${shown(error)} when it was read`, thrown: { error } };
}

export function inWords({ at, what }: JsonProblem): string {
  return `${at === "" ? "it" : `\`${at}\``} ${what}`;
}

/** What a value with this problem is: a Map in an array is told as "an array: `0` is an instance of Map". */
export function describeWith(value: unknown, problem: JsonProblem): string {
  const { at, what } = problem;
  const own = `is ${describe(value)}`;
  if (at === "" && what.startsWith(own)) return what.slice("is ".length);
  return `${describe(value)}: ${inWords(problem)}`;
}

/** @param above - the objects it is in, from the outermost */
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
    return { at: "", what: `is ${describe(value)}, of which JSON keeps nothing` };
  }
  for (const key of keys) {
    const member = (value as Record<string, unknown>)[key];
    // JSON leaves such a property out, which is what code that sets it means.
    if (member === undefined) continue;
    const problem = problemOf(member, key, above);
    if (problem) return within(key, problem);
  }
  return undefined;
}

/** A value with `toJSON` says itself what it is; that has to be something. */
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
  if (made === undefined) return { at: "", what: "has a `toJSON` that gives undefined" };
  return problemOf(made, key, above, true);
}

function within(key: string | number, problem: JsonProblem): JsonProblem {
  return { ...problem, at: problem.at === "" ? String(key) : `${key}.${problem.at}` };
}

/** Of a class, a generator: not what `{}` makes, here or in another realm. */
function isInstance(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype !== null && Object.getPrototypeOf(prototype) !== null;
}

function isNoJson(value: object): boolean {
  return NOT_JSON.some((type) => value instanceof type) || ArrayBuffer.isView(value);
}

/** JSON makes `{}` of these without a word, and a box is none for `fast-json-stable-stringify` either. */
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
