/**
 * The monotonic clock in ms, the same in all processes of this machine: what one notes, another can compare.
 * `performance.now()` counts from the start of its process; `process.hrtime` would make an array or a BigInt each time.
 */
// The global of this name is a getter, which would cost an eighth of a look at the clock.
import { performance } from "node:perf_hooks";

// As they were when this package was loaded: test runners replace them by a clock that stands still.
const now = performance.now.bind(performance);
/** The same clock in ns: each look gives another number, in one process. */
export const monotonicNanoseconds = process.hrtime.bigint;

const LOOKS = 5;
const offset = measureOffset();

export function monotonic(): number {
  return now() + offset;
}

/** On a busy machine this process may be interrupted between two looks at the clock: the closest ones tell. */
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
