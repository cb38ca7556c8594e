/** Node's permission model (`--permission`): what is not allowed is said beforehand, with the flag that allows it. */
import { LaunchError } from "../errors.js";

/** By the names that `process.permission.has` knows, the flags. */
const FLAGS = {
  child: "--allow-child-process",
  worker: "--allow-worker",
  net: "--allow-net",
  "fs.write": "--allow-fs-write",
} as const;

/** @throws LaunchError when this program runs without it */
export function assertAllowed(what: keyof typeof FLAGS, wanted: string, path?: string): void {
  const { permission } = process as {
    permission?: { has(scope: string, reference?: string): boolean };
  };
  const flag = FLAGS[what];
  // Not every version keeps watch over all of them.
  if (!permission || !process.allowedNodeEnvironmentFlags.has(flag)) return;
  if (permission.has(what, path)) return;
  throw denied(wanted, path === undefined ? flag : `${flag}=${path}`);
}

/** @throws LaunchError in place of the error that the inspector gives; any other as it is */
export function throwInspectorDenial(error: unknown): never {
  if (!isInspectorDenial(error)) throw error;
  const flag = "--allow-inspector";
  const isKnown = process.allowedNodeEnvironmentFlags.has(flag);
  throw denied(
    "looking for the worker's class with V8's inspector",
    `${isKnown ? `${flag}, or ` : ""}the option \`module\` with the URL of the module that exports the class`,
  );
}

export function isInspectorDenial(error: unknown): boolean {
  const { code, permission } = error as { code?: unknown; permission?: unknown };
  return code === "ERR_ACCESS_DENIED" && permission === "Inspector";
}

function denied(wanted: string, remedy: string): LaunchError {
  return new LaunchError(`Node's permission model (--permission) forbids ${wanted}: add ${remedy}`);
}
