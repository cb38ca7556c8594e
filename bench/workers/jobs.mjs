/** The functions that the pools run, the same for all pools; tinypool, piscina and jest-worker load this module directly. */
import { setTimeout as sleep } from "node:timers/promises";
import { threadId } from "node:worker_threads";
import double from "./double.cjs";
import { makeBytes } from "./payloads.mjs";

export { makeBytes, makeText, measure } from "./payloads.mjs";
export { double };

/** Only for piscina, whose wrapper moves the memory of a result instead of copying it. */
export async function makeBytesToMove(bytes) {
  const { move } = await import("piscina");
  return move(makeBytes(bytes));
}

/**
 * Is busy until a time on the clock, not for an amount of work: an item then takes exactly its time on any machine and at
 * any clock rate, even if two cores share a unit or another program takes one. So the best possible time of a schedule
 * is known, and the bench measures the time that a pool adds between the items.
 */
export function busy(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
  return String(ms);
}

/** Runs all of them in one call. */
export function busyAll(items) {
  return items.map(busy);
}

/** Returns where and when the item has begun; `hrtime` is one clock for all processes of a machine. */
export async function begin(hold) {
  const begun = process.hrtime.bigint();
  if (hold > 0) await sleep(hold);
  return `${begun} ${process.pid}/${threadId}`;
}
