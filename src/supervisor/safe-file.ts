/**
 * A file that a diagnostic is written to: below a directory that was given when the supervisor was made, wherever a caller wants it to be. Each part of its
 * path is opened from the one before, without following links, so that nothing can be exchanged between a check and a use.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  unlinkSync,
  write,
} from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { makePrivateDirectory } from "../system/make-private.js";
import { describe } from "../system/describe.js";
import { SupervisorError } from "../errors.js";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;
const writeTo = promisify(write);

export class SafeFile {
  /** For people. */
  readonly path: string;
  bytes = 0;
  readonly #fd: number;
  /** The directory that it is in, wherever that is moved. */
  readonly #directory: number;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, fd: number, directory: number) {
    this.path = file;
    this.#fd = fd;
    this.#directory = directory;
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
    let directory = openRoot(root);
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
      return new SafeFile(path.join(place, file), fd, directory);
    } catch (error) {
      closeSync(directory);
      throw inWords(error, path.join(place, file));
    }
  }

  async write(text: string): Promise<void> {
    this.#writing = this.#append(text);
    await this.#writing;
  }

  async #append(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length;) {
      at += await this.#writeSome(bytes.subarray(at));
    }
    this.bytes += bytes.length;
  }

  async #writeSome(bytes: Buffer): Promise<number> {
    try {
      return (await writeTo(this.#fd, bytes, 0, bytes.length, null)).bytesWritten;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new SupervisorError(`${this.path} could not be written (${code})`);
    }
  }

  async close(): Promise<void> {
    await this.#writing;
    closeSync(this.#fd);
    closeSync(this.#directory);
  }

  /** Removes what was written, as it is not whole. */
  async abandon(): Promise<void> {
    // A thread may be about to write: once the descriptor is closed, its number may be that of another file.
    await this.#writing.catch(() => {});
    try {
      this.#remove();
    } finally {
      closeSync(this.#fd);
      closeSync(this.#directory);
    }
  }

  /** Where the directory is now, and only what this file is: meanwhile either may have been exchanged. */
  #remove(): void {
    const at = within(this.#directory, path.dirname(this.path), path.basename(this.path));
    const { ino, dev } = fstatSync(this.#fd, { bigint: true });
    const there = lstatSync(at, { bigint: true, throwIfNoEntry: false });
    if (there?.ino === ino && there.dev === dev) unlinkSync(at);
  }
}

function openRoot(root: string): number {
  const code = makePrivateDirectory(root);
  if (code !== undefined && code !== "EEXIST") throw inWords({ code }, root);
  try {
    return openSync(root, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    throw inWords(error, root);
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
  // Not the error's own message, which has the path of a descriptor in it.
  return new SupervisorError(`${file} could not be made (${code})`);
}

function refused(why: string): SupervisorError {
  return new SupervisorError(why, "refused");
}
