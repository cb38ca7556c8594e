/**
 * What a forked child makes its own of what the fork server has open: a file gets a position of its own, and a connection that
 * nobody may share is, to the child, one that its peer has closed.
 */
import { closeSync, constants, openSync } from "node:fs";
import { fileState, O_CLOEXEC } from "./descriptors.js";
import { type Libc, SEEK_CUR, SEEK_SET } from "../libc.js";

interface InheritedFile {
  readonly fd: number;
  /** To open it again with. */
  readonly flags: number;
  readonly closesOnExec: number;
}

export class Inherited {
  readonly #libc: Libc;
  readonly #files: readonly InheritedFile[];
  readonly #connections: readonly number[];

  /**
   * @param files - descriptors to be opened again
   * @param connections - descriptors to be cut off
   * @throws when a file cannot be opened again, as one can that somebody else owns
   */
  constructor(libc: Libc, files: readonly number[], connections: readonly number[]) {
    this.#libc = libc;
    this.#files = files.map(inheritedFile);
    this.#connections = connections;
    for (const file of this.#files) closeSync(openAgain(file));
  }

  /** Whether the event loop has something to tell before any of the user's code runs. */
  get hasEnded(): boolean {
    return this.#connections.length > 0;
  }

  /** To be called in a child, before its event loop is its own. */
  makeOwn(): void {
    for (const file of this.#files) this.#reopen(file);
    for (const fd of this.#connections) this.#cut(fd);
  }

  #reopen(file: InheritedFile): void {
    const { fd, closesOnExec } = file;
    const position = this.#libc.seek(fd, 0, SEEK_CUR);
    const own = openAgain(file);
    // A terminal has none.
    if (position > 0) this.#libc.seek(own, position, SEEK_SET);
    this.#libc.dup3(own, fd, closesOnExec);
    closeSync(own);
  }

  /** Its other end is closed: what is read is the end, what is written has no reader. */
  #cut(fd: number): void {
    const [end, peer] = this.#libc.socketPair();
    this.#libc.close(peer);
    this.#libc.dup3(end, fd, O_CLOEXEC);
    this.#libc.close(end);
  }
}

/** What only matters when a file is opened the first time, or not by way of /proc, which is a link. */
const { O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW, O_NOCTTY } = constants;
const ONCE_FLAGS = O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;

function inheritedFile(fd: number): InheritedFile {
  const { flags } = fileState(fd);
  return { fd, flags: (flags & ~ONCE_FLAGS) | O_NOCTTY, closesOnExec: flags & O_CLOEXEC };
}

function openAgain({ fd, flags }: InheritedFile): number {
  return openSync(`/proc/self/fd/${fd}`, flags);
}
