/**
 * Descriptors that the fork server holds for a moment when it has no other: for watching a child that is there already, and
 * for the first files a child opens, which closes them.
 */
import { openSync } from "node:fs";
import type { Libc } from "../libc.js";

/** One to watch the child, some for the child: the file it opens its channel or its result with, and what loads a module. */
const COUNT = 4;

export class SpareDescriptors {
  readonly fds: number[] = [];
  readonly #libc: Libc;

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  /** `false` when there are not enough. */
  fill(): boolean {
    try {
      while (this.fds.length < COUNT) this.fds.push(openSync("/dev/null", "r"));
      return true;
    } catch {
      return false;
    }
  }

  empty(): void {
    for (const fd of this.fds.splice(0)) this.#libc.close(fd);
  }
}
