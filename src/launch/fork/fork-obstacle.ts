/** What the parent knows in advance to prevent forking; the fork server finds the other obstacles. */
import type * as Inspector from "node:inspector";
import { createRequire } from "node:module";
import { nameOfOther } from "../runtime.js";

/** Not `--inspect-port`, which only sets the port of a debugger: `node --test` passes it to every file. */
const DEBUGGER = /^--inspect(-brk|-wait)?(=|$)/;

/** Returns why `fork` cannot be used here, or `undefined`. */
export function forkObstacle(execArgv: readonly string[]): string | undefined {
  const runtime = nameOfOther();
  if (runtime !== undefined) return `fork is for Node.js, this is ${runtime}`;
  if (process.platform !== "linux") return `fork is for Linux, this is ${process.platform}`;
  if (process.arch !== "x64" && process.arch !== "arm64")
    return `fork is not tested on ${process.arch}`;
  if (execArgv.some((flag) => DEBUGGER.test(flag)) || inspectorUrl() !== undefined) {
    return "a debugger is attached (--inspect)";
  }
  const loader = execArgv.find((flag) => /^--(experimental-)?loader\b/.test(flag));
  if (loader !== undefined) return `${loader} runs in a thread of its own`;
  return undefined;
}

function inspectorUrl(): string | undefined {
  const inspector = createRequire(import.meta.url)("node:inspector") as typeof Inspector;
  return inspector.url();
}
