/** Collects the warnings of this process during a test, in place of printing them. */
import { afterEach, beforeEach, vi } from "vitest";

export interface Warned {
  readonly message: string;
  readonly code: string;
}

/** Returns a list that is filled anew in each test of the file. */
export function warned(): Warned[] {
  const list: Warned[] = [];
  beforeEach(() => {
    list.length = 0;
    vi.spyOn(process, "emitWarning").mockImplementation(((message: string, options: Warned) => {
      list.push({ message: message, code: options.code });
    }) as typeof process.emitWarning);
  });
  afterEach(() => void vi.restoreAllMocks());
  return list;
}
