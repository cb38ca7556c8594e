/** Node's permission model (`--permission`): fails early with an error that names the missing flag. */
import { LaunchError } from "../errors.js";

/** Flags, by the scope names of `process.permission.has`. */
const FLAGS = {
  child: "--allow-child-process",
  worker: "--allow-worker",
  net: "--allow-net",
  "fs.write": "--allow-fs-write",
} as const;

/** @throws LaunchError if this program runs without the permission */
export function assertAllowed(what: keyof typeof FLAGS, wanted: string, path?: string): void {
  const { permission } = process as {
    permission?: { has(scope: string, reference?: string): boolean };
  };
  const flag = FLAGS[what];
  // Not every Node version restricts every scope.
  if (!permission || !process.allowedNodeEnvironmentFlags.has(flag)) return;
  if (permission.has(what, path)) return;
  throw denied(wanted, path === undefined ? flag : `${flag}=${path}`);
}

/** @throws LaunchError if the permission model denied the inspector; any other error unchanged */
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
