/** Bun and Deno run much of what is written for Node.js, and not all of this package: what does not run there is said at the first call. */
import { LaunchError } from "../errors.js";

/** Another than Node.js, with what there is no way to do there. */
function otherRuntime(): { readonly name: string; readonly lacksProcesses: boolean } | undefined {
  const { bun, deno } = process.versions;
  if (bun !== undefined) return { name: "Bun", lacksProcesses: true };
  return deno === undefined ? undefined : { name: "Deno", lacksProcesses: false };
}

/** Name of the runtime, when that is not Node.js. */
export function nameOfOther(): string | undefined {
  return otherRuntime()?.name;
}

/**
 * @param what - is to be started
 * @param module - the option, without which a class is looked for in a way that only Node.js knows
 * @throws LaunchError where it cannot be
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
    `forkmap needs Node.js for this. Under ${name} there are \`pool: 0\`, and ${withModule} with the option \`module\`, the URL of the worker's module`,
  );
}
