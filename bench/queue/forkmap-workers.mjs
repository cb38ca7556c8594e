/** forkmap's workers of the bench "queue"; those who map and those who serve share them. */
import { JsonWorker, ParallelWorker } from "forkmap";
import { shout } from "./work.mjs";

/** Items of `mapProcesses` and `run`. */
export class Shout extends ParallelWorker {
  static workerName = "shout@1";

  process(text) {
    return shout(text);
  }
}

/** Jobs that plain BullMQ code has added. */
export class ShoutJob extends JsonWorker {
  static workerName = "shout-job@1";

  process({ text }) {
    return shout(text);
  }
}
