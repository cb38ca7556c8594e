/** The functions that the pools run, the same for all pools; tinypool, piscina and jest-worker load this module directly. */
import { setTimeout as sleep } from "node:timers/promises";
import { threadId } from "node:worker_threads";
import busy from "./busy.cjs";
import double from "./double.cjs";
import { makeBytes } from "./payloads.mjs";

export { flip, makeBytes, makeText, measure } from "./payloads.mjs";
export { busy, double };

/** Only for piscina, whose wrapper moves the memory of a result instead of copying it. */
export async function makeBytesToMove(bytes) {
  const { move } = await import("piscina");
  return move(makeBytes(bytes));
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
