/** Arguments of diagnostic operations that a supervisor does not forward. */
import { expect, test } from "vitest";
import { DIAGNOSTICS } from "../../src/child/supervised/diagnostics.js";
import { checkArguments, DIAGNOSTIC_RULES } from "../../src/supervisor/diagnostic-rules.js";

const checked = (operation: keyof typeof DIAGNOSTIC_RULES, args: unknown) =>
  checkArguments(operation, DIAGNOSTIC_RULES[operation], args);

test.each([
  [
    "memory_sample",
    { duration: 0 },
    "duration",
    "a number of ms from 1 to 3600000",
    "0 (a number)",
  ],
  [
    "cpu_profile",
    { duration: "1" },
    "duration",
    "a number of ms from 1 to 3600000",
    '"1" (a string)',
  ],
  [
    "cpu_profile",
    { interval: 1 },
    "interval",
    "a whole number from 50 to 1000000 us",
    "1 (a number)",
  ],
  [
    "garbage_profile_start",
    { duration: NaN },
    "duration",
    "a number of ms from 1 to 3600000",
    "NaN (a number)",
  ],
  ["memory_sample", { mode: "all" }, "mode", '"sampling" or "exact"', '"all" (a string)'],
  ["memory_sample", { classes: 1 }, "classes", "a boolean", "1 (a number)"],
  ["scheduler_dump", { top: 0 }, "top", "a whole number from 1 to 10000", "0 (a number)"],
] as const)("%s %j", (operation, args, name, expected, got) => {
  expect(() => checked(operation, args)).toThrow(
    new TypeError(`Expected \`${name}\` to be ${expected}, got ${got}`),
  );
});

test("arguments that do not exist, and what is no object", () => {
  expect(() => checked("cpu_profile", { time: 1 })).toThrow(
    new TypeError("Unknown argument `time` of cpu_profile. There are: `duration`, `interval`"),
  );
  expect(() => checked("status", { top: 1 })).toThrow(
    new TypeError("Unknown argument `top` of status. It takes none"),
  );
  expect(() => checked("status", [])).toThrow(
    new TypeError("Expected the arguments of status to be an object, got an array"),
  );
});

test("every operation has rules, and takes nothing or what they accept", () => {
  expect(Object.keys(DIAGNOSTIC_RULES).toSorted()).toEqual([...DIAGNOSTICS.keys()].toSorted());
  checked("memory_sample", { duration: undefined });
  checked("memory_sample", {
    duration: 3_600_000,
    mode: "exact",
    interval: 1024,
    classes: false,
    top: 1,
  });
});
