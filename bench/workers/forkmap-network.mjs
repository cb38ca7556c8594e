/** The workers of forkmap that use the network. */
import { Work } from "./forkmap.mjs";
import { work } from "./work.mjs";

/** The fork server finds the word fetch in this class, and loads everything that fetch needs. */
export class Fetch extends Work {
  process(n) {
    return work[this.kind](n);
  }
}

/** The fork server also fetches something itself. */
export class FetchReady extends Fetch {
  async preload() {
    // Opens no connection: children would share a connection of the fork server.
    const response = await fetch("data:,");
    await response.text();
  }
}
