/** The types of a check and its verdict. */
import type { Bench } from "./bench.js";

export interface Check {
  /** Continues the name of the program: "ends on SIGTERM". */
  readonly name: string;
  /** Precondition: `"program"` if the program must run at all, `"answer"` if it must have answered an item. */
  readonly needs?: "program" | "answer";
  run(bench: Bench): Promise<Verdict>;
}

export interface Verdict {
  readonly level: "ok" | "wrong" | "note";
  /** A sentence after the name of the check; it calls the program "it". */
  readonly text?: string | undefined;
  /** The last lines of its stderr. */
  readonly stderr?: readonly string[] | undefined;
  /** Why the check was skipped. */
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
