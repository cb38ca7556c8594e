/** Rules for the values of options: each accepts a value or not, and says in words what is expected. */
import type { Limits, RetryDelay } from "./options.js";
import { describe } from "./system/describe.js";
import { MAX_DELAY_MS } from "./wire/protocol.js";

export interface Rule {
  readonly expected: string;
  accepts(value: unknown): boolean;
  /** Says of a value that is not accepted what came; by default its type, or the value if it is short. */
  describe?(value: unknown): string;
}

export const wholeNumber = (min: number, max: number, unit = ""): Rule => ({
  expected: `a whole number from ${min} to ${max}${unit}`,
  accepts: (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
});
export const milliseconds = (min: number, max = MAX_DELAY_MS): Rule => ({
  expected: `a number of ms from ${min} to ${max}`,
  accepts: (value) => typeof value === "number" && value >= min && value <= max,
});
export const typed = (type: string, expected = `a ${type}`): Rule => ({
  expected,
  accepts: (value) => typeof value === type,
});
export const oneOf = (...choices: readonly string[]): Rule => ({
  expected: choices.map((choice) => `"${choice}"`).join(" or "),
  accepts: (value) => choices.includes(value as string),
});
export const either = (
  first: string,
  isFirst: (value: unknown) => boolean,
  second: Rule,
): Rule => ({
  expected: `${first} or ${second.expected}`,
  accepts: (value) => isFirst(value) || second.accepts(value),
});
export const bytes = wholeNumber(1, Number.MAX_SAFE_INTEGER, " bytes");
export const path: Rule = {
  expected: "a path that is not empty",
  accepts: (value) => typeof value === "string" && value !== "" && !value.includes("\0"),
};

/** Rules of the options by name; those of an option that is an object are rules of its own. */
export type Rules = Readonly<Record<string, Rule>>;

export const LIMIT_RULES: Record<keyof Limits, Rule> = {
  memory: bytes,
  cpuSeconds: wholeNumber(1, 2 ** 31, " seconds"),
  openFiles: wholeNumber(1, 2 ** 31),
};

export const RETRY_DELAY_RULES: Record<keyof RetryDelay, Rule> = {
  min: milliseconds(0),
  max: milliseconds(0),
  factor: {
    expected: "a number of at least 1",
    accepts: (value) => typeof value === "number" && value >= 1 && value < Infinity,
  },
};

/** Where and how children start. */
export const LAUNCH_RULES = {
  module: {
    expected: "a URL or a path",
    accepts: (value: unknown) => value instanceof URL || path.accepts(value),
  },
  execArgv: {
    expected: "an array of strings",
    accepts: (value: unknown) =>
      Array.isArray(value) && value.every((each) => typeof each === "string"),
  },
  env: {
    expected: "an object of strings",
    accepts: (value: unknown) =>
      typeof value === "object" &&
      value !== null &&
      !Array.isArray(value) &&
      Object.values(value).every((each) => each === undefined || typeof each === "string"),
  },
  cwd: path,
} satisfies Rules;

export function checkOption(name: string, value: unknown, rule: Rule): void {
  if (rule.accepts(value)) return;
  const got = rule.describe?.(value) ?? describe(value);
  throw new TypeError(`Expected \`${name}\` to be ${rule.expected}, got ${got}`);
}

/**
 * @param prefix - what stands before the names in messages
 * @param unknownOption - returns the message for an option that does not exist
 * @throws TypeError that names the option, what was expected and what came
 */
export function check(
  options: unknown,
  rules: Readonly<Record<string, Rule | Rules>>,
  prefix: string,
  unknownOption: (name: string) => string,
): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const name = prefix === "" ? "options" : prefix.slice(0, -1);
    throw new TypeError(`Expected \`${name}\` to be an object, got ${describe(options)}`);
  }
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      const names = Object.keys(rules);
      const known = names.length === 0 ? "There are none" : `There are: ${names.join(", ")}`;
      throw new TypeError(`${unknownOption(prefix + name)}. ${known}`);
    }
    // Code that passes on its own options produces `{ timeout: undefined }`.
    if (value === undefined) continue;
    if (isRule(rule)) {
      checkOption(prefix + name, value, rule);
      continue;
    }
    check(value, rule, `${prefix}${name}.`, (inner) => `Unknown option \`${inner}\``);
  }
}

function isRule(rule: Rule | Rules): rule is Rule {
  return typeof rule.accepts === "function";
}
