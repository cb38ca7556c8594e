/**
 * The monotonic clock in ms, the same in all processes of this machine: what one notes, another can compare.
 * `performance.now()` counts from the start of its process; `process.hrtime` would make an array or a BigInt each time.
 */
// The global of this name is a getter, which would cost an eighth of a look at the clock.
import { performance } from "node:perf_hooks";

const LOOKS = 5;
const offset = measureOffset();

export function monotonic(): number {
  return performance.now() + offset;
}

/** On a busy machine this process may be interrupted between two looks at the clock: the closest ones tell. */
function measureOffset(): number {
  let closest = Infinity;
  let found = 0;
  for (let time = 0; time < LOOKS; time += 1) {
    const before = performance.now();
    const now = Number(process.hrtime.bigint()) / 1e6;
    const after = performance.now();
    if (after - before >= closest) continue;
    closest = after - before;
    found = now - (before + after) / 2;
  }
  return found;
}
