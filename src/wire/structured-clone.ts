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
    return new CloneCheck().of(value);
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

/**
 * V8 reads and writes each level of a value by a call. With more than some two thousand it has no stack left, and the other
 * process, which may have less, only says that the clone cannot be read.
 */
const MOST_LEVELS = 1000;

class CloneCheck {
  /** Objects may contain themselves, and are looked at once. */
  readonly #seen = new Set<object>();
  #level = 0;

  of(value: unknown): ValueProblem | undefined {
    if (typeof value === "function" || typeof value === "symbol") return problem(value);
    if (typeof value !== "object" || value === null || this.#seen.has(value)) return undefined;
    this.#seen.add(value);
    if (types.isProxy(value)) return { at: "", what: "is a Proxy" };
    if (this.#level === MOST_LEVELS) return { at: "", what: `is nested too deeply (${LEVELS})` };
    this.#level += 1;
    const found = this.#within(value);
    this.#level -= 1;
    return found;
  }

  #within(value: object): ValueProblem | undefined {
    if (Array.isArray(value)) return this.#inArray(value);
    if (Object.getPrototypeOf(value) === Object.prototype) {
      return this.#inMembers(value, Object.keys(value));
    }
    if (types.isMap(value)) return this.#inMap(value);
    if (types.isSet(value)) return this.#inValues([...value], "values");
    if (types.isSymbolObject(value)) return problem(value);
    if (KEPT.some((is) => is(value))) return undefined;
    if (ArrayBuffer.isView(value)) return areGone(value) ? problem(value, GONE) : undefined;
    if (types.isArrayBuffer(value)) return isGone(value) ? problem(value, GONE) : undefined;
    if (types.isGeneratorObject(value)) return { at: "", what: "is a generator" };
    if (UNCLONEABLE.some((is) => is(value))) return problem(value);
    // Of an error, structured clone keeps its name, message, stack and cause.
    if (types.isNativeError(value)) return this.#inMembers(value, ["cause"]);
    const keys = Object.keys(value);
    if (keys.length > 0 || !isInstance(value)) return this.#inMembers(value, keys);
    return { at: "", what: `is ${describe(value)}, which structured clone would turn into {}` };
  }

  #inMap(map: ReadonlyMap<unknown, unknown>): ValueProblem | undefined {
    const inKeys = this.#inValues([...map.keys()], "keys");
    if (inKeys) return inKeys;
    for (const [key, value] of map) {
      const inner = this.of(value);
      if (inner) return within(`get(${shownKey(key)})`, inner);
    }
    return undefined;
  }

  #inValues(values: readonly unknown[], name: string): ValueProblem | undefined {
    const inner = this.#inArray(values);
    return inner && within(name, inner);
  }

  #inArray(values: readonly unknown[]): ValueProblem | undefined {
    let found: ValueProblem | undefined;
    // `some` skips holes, of which there may be millions.
    values.some((value, i) => {
      if (typeof value !== "object" && typeof value !== "function" && typeof value !== "symbol") {
        return false;
      }
      const inner = this.of(value);
      if (inner) found = within(i, inner);
      return inner !== undefined;
    });
    return found;
  }

  #inMembers(value: object, keys: readonly string[]): ValueProblem | undefined {
    for (const key of keys) {
      const inner = this.of((value as Record<string, unknown>)[key]);
      if (inner) return within(key, inner);
    }
    return undefined;
  }
}

function problem(value: unknown, more?: string): ValueProblem {
  return { at: "", what: `is ${describe(value)}${more === undefined ? "" : ` ${more}`}` };
}

const LEVELS = `${MOST_LEVELS} levels at most`;

function shownKey(key: unknown): string {
  return typeof key === "string" || typeof key === "number" ? String(key) : describe(key);
}

const UNCLONEABLE = [
  types.isPromise,
  types.isWeakMap,
  types.isWeakSet,
  types.isSharedArrayBuffer,
  types.isExternal,
];

/** What structured clone keeps whole. */
const KEPT = [types.isDate, types.isRegExp, types.isBoxedPrimitive];
