/** Waits for what no event tells. */
import { setTimeout } from "node:timers/promises";

/** @param isTrue - asked again until it is; the test's own limit ends it */
export async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await setTimeout(20);
}
