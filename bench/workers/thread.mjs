/** A worker thread for one item. */
import { parentPort, workerData } from "node:worker_threads";
import { work } from "./work.mjs";

parentPort.postMessage(await work[workerData.kind](workerData.item));
