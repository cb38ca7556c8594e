/**
 * The workers of forkmap that do not use the network. Workers that do have a module of their own, because
 * the fork server loads all network code if the worker's module mentions it.
 */
import { ParallelWorker } from "forkmap";
import { hold } from "./ballast.mjs";
import { makeBytes, makeText } from "./payloads.mjs";
import { smallWork, waitAsync, waitSync } from "./stay.mjs";
import { work } from "./work.mjs";

export class Work extends ParallelWorker {
  kind;

  process(n) {
    return work[this.kind](n);
  }
}

export class Stay extends ParallelWorker {
  how;

  process() {
    smallWork();
    return this.how === "synchronous" ? waitSync() : waitAsync();
  }
}

export class MakeText extends ParallelWorker {
  process(bytes) {
    return makeText(bytes);
  }
}

export class MakeBytes extends ParallelWorker {
  process(bytes) {
    return makeBytes(bytes);
  }
}

export class Measure extends ParallelWorker {
  process(text) {
    return String(text.length);
  }
}

export class Ballast extends ParallelWorker {
  how;
  mebibytes;

  preload() {
    hold(this.how, this.mebibytes);
  }

  process(n) {
    return String(n);
  }
}
