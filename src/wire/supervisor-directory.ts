/** The directory of a supervisor: its token, which who calls it has to show, and its socket. Only this user has access to it. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";

const TOKEN_FILE = "token";
const LONGEST_TOKEN = 128;

export function tokenPath(directory: string): string {
  return `${directory}/${TOKEN_FILE}`;
}

/** @throws Error with a `code` when there is none, or it may not be read */
export function readToken(directory: string): string {
  const fd = openSync(
    tokenPath(directory),
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  );
  try {
    if (!fstatSync(fd).isFile()) throw new Error(`${tokenPath(directory)} is not a file`);
    const bytes = Buffer.alloc(LONGEST_TOKEN);
    return bytes.toString("latin1", 0, readSync(fd, bytes));
  } finally {
    closeSync(fd);
  }
}
