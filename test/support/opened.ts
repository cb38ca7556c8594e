/** Creates a `Parallel` that is destroyed after its test; then no process and no file of it may remain. */
import { setTimeout as sleep } from "node:timers/promises";
import { type AnyWorker, Parallel, type ParallelOptions, type WorkerFunction } from "forkmap";
import { afterEach, expect, vi } from "vitest";
import { descendants, removeLeftovers, scratchDirectories } from "./leftovers.js";
import { SOON } from "./soon.js";

/** Longer than any test gives a child to end. */
const DESTROY_MS = 8000;

const open = new Set<{ destroy(): Promise<void> }>();

export function opened<Item, Result>(
  worker: AnyWorker<Item, Result> | WorkerFunction<Item, Result>,
  options?: ParallelOptions<Item, Result>,
): Parallel<Item, Result> {
  // What JSON keeps is not known of types that are not known.
  const parallel = new Parallel(worker as AnyWorker<Item, Result>, options);
  open.add(parallel);
  return parallel;
}

afterEach(async () => {
  const destroyed = Promise.all([...open].map((each) => each.destroy()));
  open.clear();
  try {
    const end = await Promise.race([destroyed, sleep(DESTROY_MS, "never", { ref: false })]);
    expect(end, "destroy() ended").not.toBe("never");
    // Processes that were killed along with a child are reaped by init, at a time of its choosing.
    await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
    expect(scratchDirectories()).toEqual([]);
  } finally {
    removeLeftovers();
  }
});
