/** Replaces the children of a container's slots a few at a time, by ones that load their modules anew. */
import { ClosedError } from "../errors.js";
import type { ServiceSlot } from "./service-slot.js";

/**
 * @param grace - of each child, in ms
 * @throws ClosedError when the container is stopped meanwhile
 * @throws Error when a new child does not become ready: then no other is replaced
 */
export async function replaceAll(
  slots: readonly ServiceSlot[],
  maxUnavailable: number,
  grace: number,
  isStopping: () => boolean,
): Promise<void> {
  const waiting = [...slots];
  let failed: ServiceSlot | undefined;
  const turn = async () => {
    while (failed === undefined && !isStopping()) {
      const slot = waiting.shift();
      if (!slot) return;
      if (!(await slot.replace(grace)) && slot.isWanted) failed ??= slot;
    }
  };
  await Promise.all(Array.from({ length: maxUnavailable }, turn));
  if (isStopping()) throw stoppedMeanwhile();
  if (!failed) return;
  const { name } = failed.options;
  throw new Error(
    `${name} num ${failed.num} did not become ready after its restart, and gets a child as before; the others are not restarted`,
  );
}

export function stoppedMeanwhile(): ClosedError {
  return new ClosedError("The container was stopped while it was restarting");
}
