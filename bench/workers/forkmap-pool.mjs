/** The workers given to forkmap's pool, but for the one that uses the network: a fork server loads all that takes for them. */
import { ParallelWorker } from "forkmap";
import * as jobs from "./jobs.mjs";

export class Double extends ParallelWorker {
  process(n) {
    return jobs.double(n);
  }
}

export class DoubleAsync extends ParallelWorker {
  async process(n) {
    await Promise.resolve();
    return jobs.double(n);
  }
}

export class Busy extends ParallelWorker {
  process(ms) {
    return jobs.busy(ms);
  }
}

export class Begin extends ParallelWorker {
  process(hold) {
    return jobs.begin(hold);
  }
}
