/** Makes directories for this user alone. `mkdirSync` with `recursive` does not return for a directory that cannot be below its parent, as in /proc. */
import { mkdirSync, statSync } from "node:fs";
import path from "node:path";

/** Makes a directory, and those above it that are not there. Returns the code of the error if that is impossible, `EEXIST` if something is there. */
export function makePrivateDirectory(directory: string): string | undefined {
  const code = make(directory);
  if (code !== "ENOENT" || statSync(path.dirname(directory), { throwIfNoEntry: false }))
    return code;
  const above = makePrivateDirectory(path.dirname(directory));
  return above === undefined || above === "EEXIST" ? make(directory) : above;
}

function make(directory: string): string | undefined {
  try {
    mkdirSync(directory, { mode: 0o700 });
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}
