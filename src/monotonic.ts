/**
 * The monotonic clock in ms, the same in all processes of this machine: what one notes, another can compare.
 * `performance.now()` counts from the start of its process; `process.hrtime` would make an array or a BigInt each time.
 */
const offset = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export function monotonic(): number {
  return performance.now() + offset;
}
