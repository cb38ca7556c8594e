/** One diagnostic operation in a child: what it is given, and what it returns. */

export interface DiagnosticCall {
  /** Checked by the supervisor. */
  readonly args: Readonly<Record<string, unknown>>;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Sends a piece of a long text; resolves when there is room for the next. */
  chunk(text: string): Promise<void>;
}

/** Resolves with a JSON value. */
export type Diagnostic = (call: DiagnosticCall) => Promise<unknown>;
