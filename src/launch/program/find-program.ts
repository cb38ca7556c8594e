/**
 * Checks before the first item whether a program can be started: Node's own error does not say whether the program, its
 * interpreter or the `cwd` is missing.
 */
import { accessSync, constants, statSync } from "node:fs";
import path from "node:path";
import { LaunchError } from "../../errors.js";
import type { ProgramCommand } from "./program-process.js";

/** Where execvp(3) of glibc looks when there is no PATH. */
const DEFAULT_PATH = "/bin:/usr/bin";

/**
 * @param kind - the name of the class that was given the program, for messages
 * @throws LaunchError that names the program or the directory that is missing or cannot be used
 */
export function checkProgram({ argv, env, cwd }: ProgramCommand, kind = "CommandWorker"): void {
  if (cwd !== undefined) checkDirectory(cwd, kind);
  // Windows has its own rules for extensions and search order: there a failed start reports the problem.
  if (process.platform === "win32") return;
  const program = argv[0]!;
  // A relative path is resolved from the program's `cwd`, as the system does at the start.
  const from = path.resolve(cwd ?? ".");
  if (program.includes("/")) {
    const problem = problemOf(path.resolve(from, program));
    if (problem === undefined) return;
    throw new LaunchError(`The program ${path.resolve(from, program)} of a ${kind} ${problem}`);
  }
  const { PATH = DEFAULT_PATH } = env;
  const places = PATH.split(":").map((each) => path.resolve(from, each));
  const problems = places.map((place) => problemOf(path.join(place, program)));
  if (problems.includes(undefined)) return;
  const at = problems.findIndex((problem) => problem !== MISSING);
  throw new LaunchError(
    at === -1
      ? `The program "${program}" of a ${kind} was not found in PATH (${PATH}): install it, or give its path in \`argv\``
      : `The program ${path.join(places[at]!, program)} of a ${kind} ${problems[at]}`,
  );
}

const MISSING = "does not exist";

function problemOf(file: string): string | undefined {
  try {
    if (!statSync(file).isFile()) return "is not a file";
    accessSync(file, constants.X_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return MISSING;
    return code === "EACCES"
      ? "may not be executed: `chmod +x` it, or name its interpreter first in `argv`"
      : `cannot be used: ${(error as Error).message}`;
  }
}

function checkDirectory(cwd: string, kind: string): void {
  let problem: string | undefined;
  try {
    if (!statSync(cwd).isDirectory()) problem = "is not a directory";
    else accessSync(cwd, constants.X_OK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    problem = code === "ENOENT" ? MISSING : `cannot be used: ${(error as Error).message}`;
  }
  if (problem) throw new LaunchError(`The \`cwd\` ${cwd} of a ${kind} ${problem}`);
}
