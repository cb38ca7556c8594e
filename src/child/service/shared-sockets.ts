/** What an instance does with the sockets of its container, and Node cannot do. */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import type { Libc } from "../libc.js";

export class SharedSockets {
  readonly #given = new Set<number>();
  readonly #isShared: boolean;
  #libc: Libc | undefined;

  /** @param isShared - whether others in this process use the descriptors, as with threads */
  constructor(isShared: boolean, libc?: Libc) {
    this.#isShared = isShared;
    this.#libc = libc;
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

  /** Without koffi, nothing in Node duplicates a descriptor: the first who asks gets the only one that there is. */
  duplicate(fd: number): number {
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
  }

  map(file: string): Int32Array | undefined {
    const libc = this.#libc;
    if (!libc) return undefined;
    let fd = -1;
    try {
      fd = openSync(file, constants.O_RDWR | constants.O_NOFOLLOW);
      return new Int32Array(libc.mapFile(fd, 0, fstatSync(fd).size));
    } catch {
      return undefined;
    } finally {
      if (fd !== -1) closeSync(fd);
    }
  }
}

const NEEDED =
  "the optional dependency koffi, which is not installed or has no binary for this machine";
