/**
 * The workers of forkmap's pool that do not use the network. Workers that do have a module of their own, because
 * the fork server loads all network code if the worker's module mentions it.
 */
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
