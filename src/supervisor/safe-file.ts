/**
 * A file that a diagnostic is written to: below a directory that was given when the supervisor was made, wherever a caller wants it to be. Each part of its
 * path is opened from the one before, without following links, so that nothing can be exchanged between a check and a use.
 */
import { closeSync, constants, fstatSync, mkdirSync, openSync, rmSync, write } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { describe } from "../system/describe.js";
import { SupervisorError } from "../errors.js";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;
const writeTo = promisify(write);

export class SafeFile {
  /** For people. */
  readonly path: string;
  bytes = 0;
  readonly #fd: number;

  private constructor(file: string, fd: number) {
    this.path = file;
    this.#fd = fd;
  }

  /**
   * @param root - the directory
   * @param name - relative to it
   * @throws SupervisorError when the name leads elsewhere, or the file is there already
   */
  static create(root: string | undefined, name: unknown): SafeFile {
    if (root === undefined) {
      throw refused(
        "Expected the supervisor to have a directory for files (its option `files`); without one, diagnostics are part of the answer only",
      );
    }
    const parts = partsOf(name);
    const file = parts.pop()!;
    mkdirSync(root, { recursive: true, mode: 0o700 });
    let directory = openSync(root, O_RDONLY | O_DIRECTORY);
    let place = root;
    try {
      for (const part of parts) {
        const next = enter(directory, place, part);
        closeSync(directory);
        directory = next;
        place = path.join(place, part);
      }
      const fd = openSync(
        within(directory, place, file),
        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
        0o600,
      );
      return new SafeFile(path.join(place, file), fd);
    } catch (error) {
      throw inWords(error, path.join(place, file));
    } finally {
      closeSync(directory);
    }
  }

  async write(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length;) {
      const { bytesWritten } = await writeTo(this.#fd, bytes, at, bytes.length - at, null);
      at += bytesWritten;
    }
    this.bytes += bytes.length;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** What was written is not whole. */
  abandon(): void {
    closeSync(this.#fd);
    rmSync(this.path, { force: true });
  }
}

function partsOf(name: unknown): string[] {
  const expected =
    "Expected `file` to be a path below the supervisor's directory for files, without `..` and not absolute";
  if (
    typeof name !== "string" ||
    name === "" ||
    name.includes("\0") ||
    Buffer.byteLength(name) > 1024
  )
    throw refused(`${expected}, got ${describe(name)}`);
  const parts = name.split("/");
  const isSafe = parts.every((part) => part !== "" && part !== "." && part !== "..");
  if (path.isAbsolute(name) || !isSafe) throw refused(`${expected}, got ${describe(name)}`);
  return parts;
}

function enter(directory: number, place: string, name: string): number {
  const at = within(directory, place, name);
  try {
    mkdirSync(at, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const fd = openSync(at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fstatSync(fd).isDirectory()) return fd;
  closeSync(fd);
  throw refused(`Expected ${path.join(place, name)} to be a directory`);
}

/** Node has no openat(2); /proc leads to what a descriptor has open, wherever that is by now. */
function within(directory: number, place: string, name: string): string {
  return process.platform === "linux"
    ? `/proc/self/fd/${directory}/${name}`
    : path.join(place, name);
}

function inWords(error: unknown, file: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EEXIST") return refused(`${file} is there already, and is not written over`);
  if (code === "ELOOP" || code === "ENOTDIR")
    return refused(`The path ${file} leads over a link or a file, which is not followed`);
  if (error instanceof SupervisorError) return error;
  return new SupervisorError(`${file} could not be made: ${(error as Error).message}`);
}

function refused(why: string): SupervisorError {
  return new SupervisorError(why, "refused");
}
