/** Which arguments the diagnostic operations take. The supervisor checks them before it forwards an operation to a child. */
import {
  checkOption,
  milliseconds,
  oneOf,
  type Rules,
  typed,
  wholeNumber,
} from "../option-rules.js";
import { describe } from "../system/describe.js";

/** A diagnosis that is forgotten ends within an hour. */
const LONGEST_MS = 3_600_000;

const duration = milliseconds(1, LONGEST_MS);
const top = wholeNumber(1, 10_000);

export const DIAGNOSTIC_RULES = {
  status: {},
  thread_dump: {},
  scheduler_dump: { top },
  memory_dump: {},
  memory_sample: {
    duration,
    mode: oneOf("sampling", "exact"),
    interval: wholeNumber(1024, 2 ** 30, " bytes"),
    classes: typed("boolean"),
    top,
  },
  allocation_trace_start: { duration, top },
  allocation_trace_stop: {},
  cpu_profile: { duration, interval: wholeNumber(50, 1_000_000, " us") },
  garbage_profile_start: { duration },
  garbage_profile_stop: { top },
} satisfies Readonly<Record<string, Rules>>;

/**
 * @param rules - of the arguments of the operation
 * @throws TypeError that names the argument, what was expected and what came
 */
export function checkArguments(operation: string, rules: Rules, args: unknown): void {
  if (typeof args !== "object" || args === null || Array.isArray(args)) {
    throw new TypeError(
      `Expected the arguments of ${operation} to be an object, got ${describe(args)}`,
    );
  }
  for (const [name, value] of Object.entries(args)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (!rule) {
      const names = Object.keys(rules).map((each) => `\`${each}\``);
      const known = names.length === 0 ? "It takes none" : `There are: ${names.join(", ")}`;
      throw new TypeError(`Unknown argument \`${name}\` of ${operation}. ${known}`);
    }
    if (value !== undefined) checkOption(name, value, rule);
  }
}
