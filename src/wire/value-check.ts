/** Checks whether a value can travel as the option `serialization` says, and tells what to do if it cannot. */
import type { Serialization } from "../options.js";
import { jsonProblem } from "./json-value.js";
import { cloneProblem } from "./structured-clone.js";
import { describeWith, type ValueProblem } from "./value-problem.js";

/** Returns why a value would not survive, or `undefined`. Never throws. */
export function valueProblem(
  value: unknown,
  serialization: Serialization,
): ValueProblem | undefined {
  return serialization === "advanced" ? cloneProblem(value) : jsonProblem(value);
}

/** Whether a value that JSON cannot carry can be cloned. */
export function isCloneable(value: unknown): boolean {
  return cloneProblem(value) === undefined;
}

/** What to do with a value that JSON cannot carry and structured clone can. */
export const USE_ADVANCED = '`serialization: "advanced"` of new Parallel keeps it';

/** Describes a result that cannot travel. */
export function refused(
  result: unknown,
  problem: ValueProblem,
  serialization: Serialization,
): string {
  const got = describeWith(result, problem);
  return serialization === "json" && isCloneable(result) ? `${got} (${USE_ADVANCED})` : got;
}
