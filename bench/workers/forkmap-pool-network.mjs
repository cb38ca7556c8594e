/** The worker of forkmap's pool that uses the network. */
import { ParallelWorker } from "forkmap";

export class Fetch extends ParallelWorker {
  async process(url) {
    const response = await fetch(url);
    return await response.text();
  }
}
