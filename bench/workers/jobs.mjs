/** What the pools run, the same functions for all of them; tinypool, piscina and jest-worker take this module as it is. */
import { setTimeout as sleep } from "node:timers/promises";
import { threadId } from "node:worker_threads";
import double from "./double.cjs";
import { makeBytes } from "./payloads.mjs";

export { makeBytes, makeText, measure } from "./payloads.mjs";
export { double };

/** For piscina alone: its wrapper hands the memory of a result over instead of copying it. */
export async function makeBytesToMove(bytes) {
  const { move } = await import("piscina");
  return move(makeBytes(bytes));
}

/**
 * Waits by the clock, not by an amount of work: an item then takes exactly its time on any machine and at any clock
 * rate, also where two cores share a unit or a neighbour takes one away, so the best possible time of a schedule is
 * known, and what is measured is what a pool adds between the items.
 */
export function busy(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
  return String(ms);
}

/** All of them in one call. */
export function busyAll(items) {
  return items.map(busy);
}

/** Where and when it has begun; `hrtime` is one clock for all processes of a machine. */
export async function begin(hold) {
  const begun = process.hrtime.bigint();
  if (hold > 0) await sleep(hold);
  return `${begun} ${process.pid}/${threadId}`;
}
