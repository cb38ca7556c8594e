/** What is known beforehand to keep children from being forked; the rest the fork server finds out. */
import { createRequire } from "node:module";
import type * as Inspector from "node:inspector";
import { nameOfOther } from "../runtime.js";

/** Not `--inspect-port`, which only says where one would be: `node --test` gives it to every file. */
const DEBUGGER = /^--inspect(-brk|-wait)?(=|$)/;

/** Why `fork` cannot be used here, or `undefined`. */
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
