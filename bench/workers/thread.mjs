/** A worker thread for one item. */
import { parentPort, workerData } from "node:worker_threads";
import { work } from "./work.mjs";

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a MessagePort, not a window
parentPort.postMessage(await work[workerData.kind](workerData.item));
