/**
 * How monitors get into the process of their supervisor: their classes are found there as those of services are, and they are made again. Those of the program's own
 * file are found by running it again up to `new Supervisor`. That is possible once, so what it gives there is remembered as a whole.
 */
import { isRerun, offerWorker } from "../worker/capture.js";
import { countDefinition, locateWorker } from "../worker/locate-worker.js";
import { isProgram } from "../worker/rerun.js";
import type { WorkerSource } from "../worker/worker-source.js";
import type { Monitor } from "./monitor.js";

/** Key of `globalThis`; a global symbol, as the program may have another copy of this package than its child. */
const MADE = Symbol.for("forkmap.monitors");
const globals = globalThis as { [MADE]?: readonly Monitor[] | undefined };

/** Returns how another process finds these monitors. Does not return there if one of them is what the program was run again for. */
export function locateMonitors(monitors: readonly Monitor[]): WorkerSource[] {
  for (const { constructor } of monitors) countDefinition(constructor);
  if (isRerun()) {
    globals[MADE] = monitors;
    for (const monitor of monitors) offerWorker(monitor);
    return [];
  }
  return monitors.map((monitor) =>
    locateWorker(monitor, undefined, process.execArgv, "json", true),
  );
}

/** @throws LoadFailure when one cannot be found */
export async function makeMonitors(sources: readonly WorkerSource[]): Promise<Monitor[]> {
  const { findWorker } = await import("../child/find/find-worker.js");
  const { addFields } = await import("../child/find/recreate-worker.js");
  const monitors: Monitor[] = [];
  for (const [i, source] of sources.entries()) {
    const made = isProgram(source.url, source.argv) ? globals[MADE]?.[i] : undefined;
    const isIt = made?.constructor.name === source.name;
    const monitor = isIt ? (made as never) : await findWorker(source);
    if (isIt) addFields(monitor, source);
    monitors.push(monitor as never);
  }
  return monitors;
}
