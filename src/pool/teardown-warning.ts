/** Warns when `teardown` fails in a child for many items: no item can fail for it, and the call may have ended. */
import { reviveError } from "../wire/error-record.js";
import { inWords, type KnownEnding } from "./outcome.js";

/** @param wasAsked - whether the child had been asked to end, so that it was running `teardown` */
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
