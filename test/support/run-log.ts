/** Reads the log of the workers of fixtures/does.mjs: one line for each attempt that has begun. */
import { existsSync, readFileSync } from "node:fs";

export interface Begun {
  readonly index: number;
  readonly num: number;
  readonly generation: number;
  readonly attempt: number;
  readonly pid: number;
}

export function begun(log: string): Begun[] {
  if (!existsSync(log)) return [];
  const lines = readFileSync(log, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Begun);
}

/** Returns how many attempts have begun. */
export function runs(log: string): number {
  return begun(log).length;
}
