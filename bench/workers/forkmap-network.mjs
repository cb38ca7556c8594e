/** The workers given to forkmap that use the network. */
import { Work } from "./forkmap.mjs";
import { work } from "./work.mjs";

/** Its fork server finds the word fetch here, and loads all that takes. */
export class Fetch extends Work {
  process(n) {
    return work[this.kind](n);
  }
}

/** Its fork server has fetched something itself as well. */
export class FetchReady extends Fetch {
  async preload() {
    // No connection: one that the fork server opens would be shared by all children.
    const response = await fetch("data:,");
    await response.text();
  }
}
