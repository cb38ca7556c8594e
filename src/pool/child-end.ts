/** What the end of a child means: for the tasks that it had not begun, and for the user if no item can fail for it. */
import type { ChildEnd } from "../launch/launcher.js";
import { reviveError } from "../wire/error-record.js";
import type { Task } from "../wire/task.js";
import { inWords, type KnownEnding } from "./outcome.js";

/** How often a task may be given to a child that ends before it has begun the task. */
const MAX_STRAYS = 10;

/** The state of a child when it ended. */
export interface LastState {
  readonly isOneItem: boolean;
  /** Whether the child was not ready yet. */
  readonly wasStarting: boolean;
  /** Whether this process had sent it `killSignal`. */
  readonly wasKilled: boolean;
  /** Whether the child could not be started, and no other child runs whose end could help. */
  readonly isHopeless: boolean;
}

/** Returns whether a task that the child had not begun fails with the child; if not, another child gets the task. */
export function isLostWith(task: Task, end: ChildEnd, last: LastState): boolean {
  if (last.wasKilled) return false;
  if (!end.started) return !end.isScarce || last.isHopeless;
  // A child that exits by itself before it is ready would do so again. If others ended with it, they may be the cause.
  const hasExited = last.wasStarting && end.signal === undefined;
  if ((last.isOneItem || hasExited) && !end.isShared) return true;
  task.strays = (task.strays ?? 0) + 1;
  return task.strays > MAX_STRAYS;
}

export function endInWords(end: ChildEnd): string {
  if (!end.started) return end.reason;
  return end.signal ?? (end.exitCode === undefined ? "lost" : `exit code ${end.exitCode}`);
}

/** Warns of a child that violated the protocol while it had no item that could fail because of that. */
export function warnOfBreach(breach: string, num: number, pid: number | undefined): void {
  process.emitWarning(`Between two items, ${breach} (num ${num}, pid ${pid})`, {
    type: "ForkmapWarning",
    code: "FORKMAP_PROTOCOL",
  });
}

/**
 * Warns if `teardown` has failed in a child with many items: no item can fail for that, and the call may have ended.
 *
 * @param wasAsked - whether the child had been asked to end, so that it was running `teardown`
 */
export function warnOfTeardown(
  ending: KnownEnding | undefined,
  wasAsked: boolean,
  { num, pid }: { readonly num: number; readonly pid: number | undefined },
): void {
  const what = ending && problemIn(ending, wasAsked);
  if (what === undefined) return;
  process.emitWarning(`teardown() ${what} (num ${num}, pid ${pid})`, {
    type: "ForkmapWarning",
    code: "FORKMAP_TEARDOWN",
  });
}

function problemIn(ending: KnownEnding, wasAsked: boolean): string | undefined {
  if (ending.how === "drained") return wasAsked ? "never settled" : undefined;
  if (ending.how === "teardown" || (ending.how === "uncaught" && wasAsked)) {
    return `failed: ${inWords(reviveError(ending.error))}`;
  }
  return undefined;
}
