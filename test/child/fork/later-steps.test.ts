/** What a fork server does later, to save time, changes no child. */
import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Parallel } from "forkmap";
import { expect, it, vi } from "vitest";
import { ExitLog } from "../../fixtures/exit-log.mjs";
import { SOON } from "../../support/soon.js";
import { temporaryDirectory } from "../../support/temporary.js";

/** Longer than the fork server waits until it counts as idle. */
const IDLE_MS = 200;

/** Each rehearsal makes a temporary directory and removes it, which changes the time of the directory above. */
async function withForkServer(
  test: (parallel: Parallel<string, string>, rehearsed: () => boolean) => Promise<void>,
) {
  const directory = temporaryDirectory();
  const before = statSync(directory).mtimeMs;
  const rehearsed = () => statSync(directory).mtimeMs !== before;
  const env = { ...process.env, TMPDIR: directory };
  const parallel = new Parallel(new ExitLog(), { env, startMethod: "fork" });
  try {
    await test(parallel, rehearsed);
  } finally {
    await parallel.close();
  }
}

it("steps that only save time are not done before the first fork", async () => {
  await withForkServer(async (parallel, rehearsed) => {
    await parallel.ready();
    await sleep(IDLE_MS);
    expect(rehearsed()).toBe(false);
  });
});

it("they are done once the fork server is idle", async () => {
  await withForkServer(async (parallel, rehearsed) => {
    expect(await parallel.mapProcesses(["one"])).toEqual(["one 0"]);
    await vi.waitFor(() => expect(rehearsed()).toBe(true), SOON);
    expect(await parallel.mapProcesses(["two"])).toEqual(["two 0"]);
  });
});

it("they are done between forks, and children before, during and after them are the same", async () => {
  await withForkServer(async (parallel, rehearsed) => {
    const items = Array.from({ length: 200 }, (_, i) => String(i));
    // Nothing of a rehearsal is left in a child: no listener, no call of one, no title.
    const expected = items.map((item) => `${item} 0`);
    expect(await parallel.mapProcesses(items, { concurrency: 4 })).toEqual(expected);
    expect(rehearsed()).toBe(true);
  });
});
