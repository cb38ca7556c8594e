/** Makes a `Parallel` that is destroyed after its test; then nothing it has started or written may be left. */
import { type AnyWorker, Parallel, type ParallelOptions } from "forkmap";
import { afterEach, expect, vi } from "vitest";
import { descendants, scratchDirectories } from "./leftovers.js";

const open = new Set<{ destroy(): Promise<void> }>();

export function opened<Item, Result>(
  worker: AnyWorker<Item, Result>,
  options?: ParallelOptions<Item, Result>,
): Parallel<Item, Result> {
  const parallel = new Parallel(worker, options);
  open.add(parallel);
  return parallel;
}

afterEach(async () => {
  for (const parallel of open) await parallel.destroy();
  open.clear();
  // What was killed along with a child is collected by init, in its own time.
  await vi.waitFor(() => expect(descendants()).toEqual([]), { timeout: 2000, interval: 20 });
  expect(scratchDirectories()).toEqual([]);
});
