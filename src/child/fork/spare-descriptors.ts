/**
 * Spare descriptors that the fork server keeps for when no other is free: for the pidfd that watches a new child, and
 * for the first files that a child opens, as the child closes the spare ones.
 */
import { openSync } from "node:fs";
import type { Libc } from "../libc.js";

/** One for the pidfd, the others for the child: to open its channel or its result file, and to load a module. */
const COUNT = 4;

export class SpareDescriptors {
  readonly fds: number[] = [];
  readonly #libc: Libc;

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  /** Opens descriptors up to COUNT; `false` if that fails. */
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
