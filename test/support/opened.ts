/** Makes a `Parallel` that is destroyed after its test; then nothing it has started or written may be left. */
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type AnyWorker, Parallel, type ParallelOptions } from "forkmap";
import { afterEach, expect, vi } from "vitest";
import { descendants, scratchDirectories } from "./leftovers.js";
import { SOON } from "./soon.js";

/** More than a child is given to end in any of the tests. */
const DESTROY_MS = 8000;

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
  const destroyed = Promise.all([...open].map((each) => each.destroy()));
  open.clear();
  try {
    const end = await Promise.race([destroyed, sleep(DESTROY_MS, "never", { ref: false })]);
    expect(end, "destroy() ended").not.toBe("never");
    // What was killed along with a child is collected by init, in its own time.
    await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
    expect(scratchDirectories()).toEqual([]);
  } finally {
    removeLeftovers();
  }
});

/** So that one test that leaves something fails alone. */
function removeLeftovers(): void {
  for (const { pid } of descendants()) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
  for (const name of scratchDirectories())
    rmSync(`${tmpdir()}/${name}`, { recursive: true, force: true });
}
