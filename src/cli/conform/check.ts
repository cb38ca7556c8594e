/** What a check is, and what comes of one. */
import type { Bench } from "./bench.js";

export interface Check {
  /** Goes on from the name of the program: "ends on SIGTERM". */
  readonly name: string;
  /** What has to be so for it to make sense: that the program runs at all, or that it has answered an item. */
  readonly needs?: "program" | "answer";
  run(bench: Bench): Promise<Verdict>;
}

export interface Verdict {
  readonly level: "ok" | "wrong" | "note";
  /** A sentence behind the name of the check; what the program did goes on from "it". */
  readonly text?: string | undefined;
  /** The last lines of its stderr. */
  readonly stderr?: readonly string[] | undefined;
  /** Why it could not be made. */
  readonly skippedAs?: string;
}

export const OK: Verdict = { level: "ok" };

export function ok(text: string): Verdict {
  return { level: "ok", text };
}

export function wrong(text: string, stderr?: readonly string[]): Verdict {
  return { level: "wrong", text, stderr };
}

export function note(text: string, stderr?: readonly string[]): Verdict {
  return { level: "note", text, stderr };
}

export function skipped(why: string): Verdict {
  return { level: "note", skippedAs: why };
}
