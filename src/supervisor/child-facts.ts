/** Checks what a child says of itself as it introduces itself. */
import { describe } from "../system/describe.js";
import { SupervisorError } from "../errors.js";
import type { ChildFacts } from "../wire/supervision.js";

/** The file of its metrics is named by it. */
const RUN = /^\d{1,20}-\d{1,20}$/;
/** A child introduces itself in one line of 4096 bytes. */
const LONGEST_TEXT = 4096;

/** @throws SupervisorError when it is not what a child says */
export function checkFacts(facts: unknown): ChildFacts {
  const { run, pool, num, generation, name, kind, pid, startedAt, version } = Object(
    facts,
  ) as Record<string, unknown>;
  const isChild =
    typeof run === "string" &&
    RUN.test(run) &&
    (pool === undefined || isText(pool)) &&
    [num, generation, pid].every((each) => Number.isSafeInteger(each) && (each as number) >= 0) &&
    (pid as number) > 0 &&
    Number.isFinite(startedAt) &&
    [name, kind, version].every(isText);
  if (isChild) return facts as ChildFacts;
  throw new SupervisorError(
    `Expected what a child says of itself, got ${describe(facts)}`,
    "refused",
  );
}

function isText(value: unknown): boolean {
  return typeof value === "string" && value.length <= LONGEST_TEXT;
}
