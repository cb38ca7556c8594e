/** Duplicates descriptors of listening sockets where there is no libc yet: in spawned children and in threads. */
import type { Libc } from "../libc.js";

/** Without koffi, nothing in Node duplicates a descriptor: the first who asks gets the only one that there is. */
export class SocketDuplicator {
  readonly #given = new Set<number>();
  readonly #isShared: boolean;
  #libc: Libc | undefined;

  /** @param isShared - whether others in this process use the descriptors, as with threads */
  constructor(isShared: boolean) {
    this.#isShared = isShared;
  }

  /** Loads koffi if it is there. @param around - calls what it is given, at a time when it is not cut short */
  async load(around: <T>(work: () => T) => T = (work) => work()): Promise<this> {
    try {
      const { loadLibc } = await import("../libc.js");
      this.#libc = around(loadLibc);
    } catch {
      // Not Linux, or the optional dependency koffi is not installed.
    }
    return this;
  }

  readonly duplicate = (fd: number): number => {
    if (this.#libc) {
      const own = this.#libc.dup(fd);
      if (own !== -1) return own;
      throw new Error(
        `The listening socket (descriptor ${fd}) could not be duplicated: too many open files, or it was closed`,
      );
    }
    if (this.#isShared) throw new Error(`Sockets of a container in threads need ${NEEDED}`);
    if (this.#given.has(fd))
      throw new Error(`To use one socket of a container more than once needs ${NEEDED}`);
    this.#given.add(fd);
    return fd;
  };
}

const NEEDED =
  "the optional dependency koffi, which is not installed or has no binary for this machine";
