/**
 * The monotonic clock in ms, the same in all processes of this machine, so that processes can compare times.
 * `performance.now()` counts from the start of its process; `process.hrtime` creates an array or a BigInt at each call.
 */
// The global `performance` is a getter: a call of it takes an eighth as long as reading the clock.
import { performance } from "node:perf_hooks";

// Taken when this package is loaded: test runners replace these functions by a clock that stands still.
const now = performance.now.bind(performance);
/** The same clock in ns: within one process, each reading is different. */
export const monotonicNanoseconds = process.hrtime.bigint;

const LOOKS = 5;
const offset = measureOffset();

export function monotonic(): number {
  return now() + offset;
}

/** Returns hrtime minus `now()`. A busy machine may interrupt the process between readings: the closest pair counts. */
function measureOffset(): number {
  let closest = Infinity;
  let found = 0;
  for (let time = 0; time < LOOKS; time += 1) {
    const before = now();
    const middle = Number(monotonicNanoseconds()) / 1e6;
    const after = now();
    if (after - before >= closest) continue;
    closest = after - before;
    found = middle - (before + after) / 2;
  }
  return found;
}
