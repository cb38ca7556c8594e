/** The base class of every worker here: it uses one library in one way, in `process` alone or in `preload` first. */
import { createHash } from "node:crypto";
import { JsonWorker } from "forkmap";

export class Library extends JsonWorker {
  /** The package whose version the table shows; by default the name of the file, "node" for what Node includes. */
  static package;
  /** Whether every result must be unique; otherwise an item must have the same result in every process. */
  static ids = false;
  /** Whether the result of an item depends on the child's earlier items, so that only one item per child can be compared. */
  static oneItemPerChild = false;
  /** Whether its module uses the library before `preload`, in which case `preload` is not tried. */
  static usedAtTopLevel = false;

  isPreloaded = false;

  async preload() {
    if (this.isPreloaded) await this.use(0);
  }

  process(n) {
    return this.use(n);
  }
}

/** Stands for a long result. */
export function digest(data) {
  return createHash("sha256").update(data).digest("hex").slice(0, 16);
}
