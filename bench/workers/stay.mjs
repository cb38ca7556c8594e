/** An item that does some work and then waits, so that its process can be measured; the bench kills it. */
import { setTimeout as sleep } from "node:timers/promises";

/** Longer than any bench measures; ends a child whose bench has died. */
const STAY_MS = 120_000;

/** A typical small item: some parsing, some strings, some objects. */
export function smallWork() {
  const rows = JSON.parse(
    `[${Array.from({ length: 200 }, (_, i) => `{"id":${i},"name":"row ${i}"}`).join(",")}]`,
  );
  const names = new Map(rows.map(({ id, name }) => [id, name.toUpperCase()]));
  return [...names.values()].toSorted((a, b) => (a < b ? -1 : 1)).join(" ").length;
}

export function waitSync() {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STAY_MS);
  return "";
}

export async function waitAsync() {
  await sleep(STAY_MS);
  return "";
}
