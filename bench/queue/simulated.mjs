/** Starts simulated machines in programs of their own. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** With more machines than this, they have no threads, which would take most of the memory. */
const MOST_THREADS = 100;
const PROGRAMS = 2;

/**
 * @param {{connection: object, queue: string, machines: number, slots: number, itemMs?: number}} settings
 * @returns what ends them
 */
export async function startMachines({ machines, itemMs = 0, ...settings }) {
  const file = fileURLToPath(new URL("machines.mjs", import.meta.url));
  const programs = Math.min(machines, PROGRAMS);
  const children = Array.from({ length: programs }, (_, i) => {
    const own = Math.floor((machines + i) / programs);
    const all = { ...settings, machines: own, itemMs, threads: machines <= MOST_THREADS };
    return fork(file, [JSON.stringify(all)]);
  });
  await Promise.all(children.map((child) => readiness(child)));
  return async () => {
    for (const child of children) child.disconnect();
    await Promise.all(children.map((child) => once(child, "exit")));
  };
}

async function readiness(child) {
  const ended = once(child, "exit").then(([code, signal]) => {
    throw new Error(`Simulated machines ended with ${signal ?? `exit code ${code}`}`);
  });
  ended.catch(() => {});
  await Promise.race([once(child, "message"), ended]);
}
