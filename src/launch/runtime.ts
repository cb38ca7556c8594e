/** Bun and Deno run only part of this package: a call that needs more fails with a message that names what works. */
import { LaunchError } from "../errors.js";

/** Returns the runtime and what it lacks, if it is not Node.js. */
function otherRuntime(): { readonly name: string; readonly lacksProcesses: boolean } | undefined {
  const { bun, deno } = process.versions;
  if (bun !== undefined) return { name: "Bun", lacksProcesses: true };
  return deno === undefined ? undefined : { name: "Deno", lacksProcesses: false };
}

/** Returns the name of the runtime, if it is not Node.js. */
export function nameOfOther(): string | undefined {
  return otherRuntime()?.name;
}

/**
 * @param what - what is to be started
 * @param module - the option `module`; without it, the class is looked for in a way that only Node.js supports
 * @throws LaunchError when this runtime cannot start it
 */
export function assertRuns(
  what: "process" | "program" | "thread",
  module: string | URL | undefined,
): void {
  const other = otherRuntime();
  if (!other) return;
  const { name, lacksProcesses } = other;
  const hasNone = what === "program" || (what === "process" && lacksProcesses);
  if (!hasNone && module !== undefined) return;
  const withModule = lacksProcesses ? "`mapThreads`" : "processes and `mapThreads`";
  throw new LaunchError(
    `forkmap needs Node.js for this. Under ${name} it supports \`pool: 0\`, and ${withModule} with the option \`module\`, the URL of the worker's module`,
  );
}
