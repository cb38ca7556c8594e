/** What every worker here extends: one library, used in one way, by `process` alone or in `preload` first. */
import { createHash } from "node:crypto";
import { JsonWorker } from "forkmap";

export class Library extends JsonWorker {
  /** The package whose version the table shows; by itself the name of the file, none for what comes with Node. */
  static package;
  /** No result may come twice; otherwise an item has the same result in every process. */
  static ids = false;
  /** What a child gives depends on the items it has had before, so only a child per item can be compared. */
  static oneItemPerChild = false;
  /** Its module has used the library before `preload`, which therefore is not tried. */
  static usedAtTopLevel = false;

  isPreloaded = false;

  async preload() {
    if (this.isPreloaded) await this.use(0);
  }

  process(n) {
    return this.use(n);
  }
}

/** In place of a result of some length. */
export function digest(data) {
  return createHash("sha256").update(data).digest("hex").slice(0, 16);
}
