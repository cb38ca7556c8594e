/** The peer that Node itself offers: `child_process.fork`, one child per item over IPC. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const CHILD = fileURLToPath(new URL("workers/ipc-child.mjs", import.meta.url));

/** Resolves with the result once the child has ended, so that a slot never holds two processes. */
export function rawFork(kind, item, options = {}) {
  return new Promise((resolve, reject) => {
    const child = fork(CHILD, options);
    let result;
    child.once("message", (message) => (result = message));
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      if (code === 0) resolve(result);
      else reject(new Error(`The child ended with ${signal ?? code}`));
    });
    child.send({ kind, item });
  });
}

/** Starts a child that never finishes its item; the caller kills it. */
export function rawForkToStay(kind) {
  const child = fork(CHILD);
  child.send({ kind });
  return child;
}
