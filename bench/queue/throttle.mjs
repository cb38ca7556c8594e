/**
 * Lets a process run only some of the time: `node throttle.mjs <pid> <ms to run> <ms of a period>`. When its parent tells it, it lets the
 * process run freely, tells which part of the time it could run, and ends; also when its parent has ended. A program of its own, as its pauses must be exact.
 */
import { setPriority } from "node:os";

const [pid, running, period] = process.argv.slice(2).map(Number);
const cell = new Int32Array(new SharedArrayBuffer(4));
let ran = 0;
let isOver = false;

prefer(-10);
process.once("message", () => (isOver = true));
process.once("disconnect", () => (isOver = true));
process.send("ready");
const start = performance.now();
while (!isOver) {
  process.kill(pid, "SIGCONT");
  const since = performance.now();
  Atomics.wait(cell, 0, 0, running);
  process.kill(pid, "SIGSTOP");
  const end = performance.now();
  ran += end - since;
  Atomics.wait(cell, 0, 0, period - running);
  await new Promise((resolve) => setImmediate(resolve));
}
process.kill(pid, "SIGCONT");
prefer(0);
const share = ran / (performance.now() - start);
if (process.connected) process.send(share, () => process.disconnect());

/** Without the right to do so, other programs take some of the time. */
function prefer(priority) {
  try {
    setPriority(pid, priority);
    setPriority(priority);
  } catch {}
}
