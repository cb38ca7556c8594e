/**
 * Structured clone, for `serialization: "advanced"`: the form of node:v8, in which `child_process.fork` sends messages
 * with that option. Values that it would silently make another are found before: a `URL` would become `{}`.
 */
import { types } from "node:util";
import { describe } from "../system/describe.js";
import { areGone, GONE, isGone } from "../system/bytes.js";
import { isInstance, problemOfThrown, type ValueProblem, within } from "./value-problem.js";

/** Loaded when needed, as most programs and children never do. */
const v8 = () => process.getBuiltinModule("node:v8");

/** @throws CloneError for what cannot be cloned; what the value's own code throws */
export function serialize(value: unknown): Uint8Array {
  const serializer = new (v8().DefaultSerializer)();
  // V8 would throw a plain Error, which the value's own code may throw as well.
  Object.assign(serializer, { _getDataCloneError: cloneError });
  serializer.writeHeader();
  serializer.writeValue(value);
  return serializer.releaseBuffer();
}

class CloneError extends Error {}

/** Called with `new` and without. */
function cloneError(message: string): CloneError {
  return new CloneError(message);
}

/** @param bytes - not used for anything else afterwards: typed arrays of the value share this memory */
export function deserialize(bytes: Uint8Array): unknown {
  return v8().deserialize(bytes);
}

/** Returns why a value would not survive structured clone, or `undefined`. Never throws, whatever the value's own code does. */
export function cloneProblem(value: unknown): ValueProblem | undefined {
  try {
    return problemOf(value, new Set());
  } catch (error) {
    return problemOfThrown(error);
  }
}

/** Returns why a value that `cloneProblem` accepted could not be serialized, from what was thrown. */
export function problemOfClone(error: unknown): ValueProblem {
  return error instanceof CloneError
    ? { at: "", what: `has no form in structured clone (${error.message})` }
    : problemOfThrown(error);
}

/** @param seen - objects may contain themselves, and are looked at once */
function problemOf(value: unknown, seen: Set<object>): ValueProblem | undefined {
  if (typeof value === "function" || typeof value === "symbol") {
    return { at: "", what: `is ${describe(value)}` };
  }
  if (typeof value !== "object" || value === null || seen.has(value)) return undefined;
  seen.add(value);
  if (types.isProxy(value)) return { at: "", what: "is a Proxy" };
  if (Array.isArray(value)) return inArray(value, seen);
  const isPlain = Object.getPrototypeOf(value) === Object.prototype;
  return isPlain ? inObject(value, seen) : inInstance(value, seen);
}

function inInstance(value: object, seen: Set<object>): ValueProblem | undefined {
  if (UNCLONEABLE.some((is) => is(value))) return { at: "", what: `is ${describe(value)}` };
  if (ArrayBuffer.isView(value)) {
    return areGone(value) ? { at: "", what: `is ${describe(value)} ${GONE}` } : undefined;
  }
  if (types.isArrayBuffer(value)) {
    return isGone(value) ? { at: "", what: `is ${describe(value)} ${GONE}` } : undefined;
  }
  if (types.isGeneratorObject(value)) return { at: "", what: "is a generator" };
  if (OPAQUE.some((is) => is(value))) return undefined;
  if (types.isMap(value)) return inMap(value, seen);
  if (types.isSet(value)) return inValues([...value], seen, "values");
  return inObject(value, seen);
}

function inMap(map: ReadonlyMap<unknown, unknown>, seen: Set<object>): ValueProblem | undefined {
  const problem = inValues([...map.keys()], seen, "keys");
  if (problem) return problem;
  for (const [key, value] of map) {
    const inner = problemOf(value, seen);
    if (inner) return within(`get(${shownKey(key)})`, inner);
  }
  return undefined;
}

function inValues(
  values: readonly unknown[],
  seen: Set<object>,
  name: string,
): ValueProblem | undefined {
  const inner = inArray(values, seen);
  return inner && within(name, inner);
}

function inArray(values: readonly unknown[], seen: Set<object>): ValueProblem | undefined {
  for (let i = 0; i < values.length; i += 1) {
    const inner = problemOf(values[i], seen);
    if (inner) return within(i, inner);
  }
  return undefined;
}

function inObject(value: object, seen: Set<object>): ValueProblem | undefined {
  const isError = types.isNativeError(value);
  // Of an error, structured clone keeps its name, message, stack and cause.
  const keys = isError ? ["cause"] : Object.keys(value);
  if (keys.length === 0 && isInstance(value)) {
    const what = `is ${describe(value)}, which structured clone would turn into {}`;
    return { at: "", what };
  }
  for (const key of keys) {
    const inner = problemOf((value as Record<string, unknown>)[key], seen);
    if (inner) return within(key, inner);
  }
  return undefined;
}

function shownKey(key: unknown): string {
  return typeof key === "string" || typeof key === "number" ? String(key) : describe(key);
}

const UNCLONEABLE = [
  types.isPromise,
  types.isWeakMap,
  types.isWeakSet,
  types.isSharedArrayBuffer,
  types.isExternal,
  types.isSymbolObject,
];

/** What structured clone keeps whole. */
const OPAQUE = [types.isDate, types.isRegExp, types.isBoxedPrimitive];
