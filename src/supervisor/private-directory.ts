/** The directory of a supervisor, which only its user may enter. */
import { constants, lstatSync } from "node:fs";
import { makePrivateDirectory } from "../system/make-private.js";

/** Makes it, unless it is there. @throws Error that says what is wrong with it */
export function makePrivate(directory: string): void {
  const place = `the directory of the supervisor, ${directory},`;
  const code = makePrivateDirectory(directory);
  if (code !== undefined && code !== "EEXIST")
    throw new Error(`Expected ${place} to be made, got ${code}`);
  const { mode, uid } = lstatSync(directory);
  if ((mode & constants.S_IFMT) !== constants.S_IFDIR)
    throw new Error(`Expected ${place} to be a directory, and it is a link or a file`);
  if (process.getuid && uid !== process.getuid())
    throw new Error(`Expected ${place} to belong to this user, and it belongs to user ${uid}`);
  if ((mode & 0o077) === 0) return;
  const rights = (mode & 0o777).toString(8).padStart(4, "0");
  throw new Error(
    `Expected ${place} to be closed to others (0700), and it has ${rights}: chmod 700 ${directory}`,
  );
}
