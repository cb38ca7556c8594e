/** Why a value cannot travel, where inside it the reason is, and both in words. */
import { describe } from "../system/describe.js";

export interface ValueProblem {
  /** Path inside the value: `a.0.b`, empty for the value itself. */
  readonly at: string;
  /** Completes "it ...". */
  readonly what: string;
  /** What the value's own code threw. */
  readonly thrown?: { readonly error: unknown };
}

/** Returns why a value cannot be read at all, from what was thrown by the attempt. */
export function problemOfThrown(error: unknown): ValueProblem {
  // A stack overflow: some thousand levels of nesting fill the stack. JSON.stringify throws the same error.
  if (error instanceof RangeError) return { at: "", what: "is nested too deeply" };
  return { at: "", what: `threw ${shown(error)} when it was read`, thrown: { error } };
}

/** Returns the problem of a member as one of the value that contains it. */
export function within(key: string | number, problem: ValueProblem): ValueProblem {
  return { ...problem, at: problem.at === "" ? String(key) : `${key}.${problem.at}` };
}

export function inWords({ at, what }: ValueProblem): string {
  return `${at === "" ? "it" : `\`${at}\``} ${what}`;
}

/** Describes a value with its problem: for a Map in an array, "an array: `0` is an instance of Map". */
export function describeWith(value: unknown, problem: ValueProblem): string {
  const { at, what } = problem;
  const own = `is ${describe(value)}`;
  if (at === "" && what.startsWith(own)) return what.slice("is ".length);
  return `${describe(value)}: ${inWords(problem)}`;
}

/** Whether a value is an instance of a class or a generator, and not a plain object of this or another realm. */
export function isInstance(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype !== null && Object.getPrototypeOf(prototype) !== null;
}

function shown(error: unknown): string {
  try {
    return error instanceof Error ? `${error.name}: ${error.message}` : describe(error);
  } catch {
    return "an error";
  }
}
