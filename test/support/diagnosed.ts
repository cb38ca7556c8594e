/** Asks a child for diagnostic operations, which it does itself as it does what it is told. */
import type { ParallelOptions } from "forkmap";
import { Diagnosed } from "../fixtures/diagnosed.mjs";
import { opened } from "./opened.js";

export interface DiagnosedStep {
  readonly operation?: string;
  readonly args?: object;
  /** Name of a function in `fixtures/diagnosed-program/ways.mjs`. */
  readonly does?: string;
  readonly detail?: unknown;
  readonly abortAfter?: number | { readonly ms: number };
  readonly keep?: boolean;
  readonly until?: boolean;
}

export const CHILDREN: readonly (readonly [string, ParallelOptions<any, any>])[] = [
  ["a forked child", { startMethod: "fork", pool: 1 }],
  ["a spawned child", { startMethod: "spawn", pool: 1 }],
  ["a thread", { startMethod: "spawn", pool: 1, threads: 1 }],
];

/** Returns the answers of one child to all steps. */
export async function diagnosed(
  options: ParallelOptions<any, any>,
  ...steps: DiagnosedStep[]
): Promise<any[]> {
  const [answers] = await opened<any, any>(new Diagnosed(), options).mapProcesses([steps]);
  return answers;
}

export const FORKED = CHILDREN[0]![1];
