import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { Library } from "../library.mjs";

export class Threads extends Library {
  static package = "node";

  async use(n) {
    const source =
      "const t = require('worker_threads'); t.parentPort.postMessage(t.workerData * 2)";
    const thread = new Worker(source, { eval: true, workerData: n });
    const [doubled] = await once(thread, "message");
    await thread.terminate();
    return doubled;
  }
}
