/**
 * Replaces descriptors that a forked child must not share with the fork server: a file is opened again, for a position
 * of its own; a connection appears to the child as closed by its peer.
 */
import { closeSync, constants, openSync } from "node:fs";
import { type Libc, SEEK_CUR, SEEK_SET } from "../libc.js";
import { fileState, O_CLOEXEC } from "./descriptors.js";

interface InheritedFile {
  readonly fd: number;
  /** The flags for opening the file again. */
  readonly flags: number;
  readonly closesOnExec: number;
}

export class Inherited {
  readonly #libc: Libc;
  readonly #files: readonly InheritedFile[];
  readonly #connections: readonly number[];

  /**
   * @param files - descriptors to open again
   * @param connections - descriptors to disconnect
   * @throws when a file cannot be opened again, for example because it belongs to another user
   */
  constructor(libc: Libc, files: readonly number[], connections: readonly number[]) {
    this.#libc = libc;
    this.#files = files.map(inheritedFile);
    this.#connections = connections;
    for (const file of this.#files) closeSync(openAgain(file));
  }

  /** Whether the event loop must report closed connections before any user code runs. */
  get hasEnded(): boolean {
    return this.#connections.length > 0;
  }

  /** Replaces the descriptors. Called in a child, before `reviveLoop`. */
  makeOwn(): void {
    for (const file of this.#files) this.#reopen(file);
    for (const fd of this.#connections) this.#cut(fd);
  }

  #reopen(file: InheritedFile): void {
    const { fd, closesOnExec } = file;
    const position = this.#libc.seek(fd, 0, SEEK_CUR);
    const own = openAgain(file);
    // A terminal has no position.
    if (position > 0) this.#libc.seek(own, position, SEEK_SET);
    this.#libc.dup3(own, fd, closesOnExec);
    closeSync(own);
  }

  /** Puts a socket with a closed peer in its place: reads return the end of the stream, writes fail with EPIPE. */
  #cut(fd: number): void {
    const [end, peer] = this.#libc.socketPair();
    this.#libc.close(peer);
    this.#libc.dup3(end, fd, O_CLOEXEC);
    this.#libc.close(end);
  }
}

/** Flags that apply only to the first open, or that /proc/self/fd, being a link, does not allow. */
const { O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW, O_NOCTTY } = constants;
const ONCE_FLAGS = O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;

function inheritedFile(fd: number): InheritedFile {
  const { flags } = fileState(fd);
  return { fd, flags: (flags & ~ONCE_FLAGS) | O_NOCTTY, closesOnExec: flags & O_CLOEXEC };
}

function openAgain({ fd, flags }: InheritedFile): number {
  return openSync(`/proc/self/fd/${fd}`, flags);
}
