/** A fork server that is started again, and whose children cannot be forked this time. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LaunchError, type ParallelOptions } from "forkmap";
import { OpensLater } from "../../fixtures/inherits/opens-later.mjs";
import { opened } from "../../support/opened.js";

const items = Array.from({ length: 30 }, (_, i) => String(i));

describe.each<[string, ParallelOptions]>([
  ["a child per item", { concurrency: 4 }],
  ["a pool", { pool: 2, batch: 1 }],
  ["threads in a pool", { pool: 1, threads: 2, batch: 1 }],
])("%s", (_, options) => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), "unfit-later-"));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  /** Kills the fork server in the middle of the call, so that the next one has a socket open. */
  async function runAcrossServers(more: ParallelOptions) {
    const file = path.join(directory, "listen");
    const worker = Object.assign(new OpensLater(), { file });
    const parallel = opened(worker, {
      ...options,
      ...more,
      retries: 3,
      retryDelay: { min: 1 },
    } as ParallelOptions<string, string>);
    let started = 0;
    const onStart = () => {
      started += 1;
      if (started !== 10) return;
      writeFileSync(file, "");
      process.kill(parallel.stats().pids[0]!, "SIGKILL");
    };
    const outcomes = await parallel.mapSettled(items, { onStart });
    return { parallel, outcomes };
  }

  test("the rest of the call is spawned, and so is the next call", async () => {
    const { parallel, outcomes } = await runAcrossServers({});
    expect(outcomes).toEqual(items.map((value) => ({ status: "fulfilled", value })));
    const { startMethod, reason } = parallel.stats();
    expect(startMethod).toBe("spawn");
    expect(reason).toMatch(/^a server listens on 127\.0\.0\.1:\d+ \(since `preload`\)/);
    expect(await parallel.mapProcesses(["next"])).toEqual(["next"]);
  });

  test('the rest fails if `startMethod` is "fork"', async () => {
    await expect(runAcrossServers({ startMethod: "fork" })).rejects.toThrow(LaunchError);
  });
});
