/** `close()` ends, whatever its children do when they end. */
import { Parallel } from "forkmap";
import { expect, onTestFinished, test } from "vitest";
import { Hangs } from "../fixtures/hangs-while-booting.mjs";
import { NeverEnds } from "../fixtures/never-ends.mjs";

const STALLED_MS = 20_000;

function warnings(): Error[] {
  const heard: Error[] = [];
  const listen = (warning: Error) => heard.push(warning);
  process.on("warning", listen);
  onTestFinished(() => void process.off("warning", listen));
  return heard;
}

const OPTIONS = { pool: 1, closeTimeout: 300, forceKillAfterDelay: STALLED_MS } as const;

test.each([
  ["forked", "teardown", {}],
  ["forked", "exit", {}],
  ["spawned", "teardown", { startMethod: "spawn" }],
  ["spawned", "exit", { startMethod: "spawn" }],
  ["hosted in a thread", "teardown", { threads: 1 }],
] as const)("a %s child whose %s never ends is killed, with a warning", async (_, how, more) => {
  const heard = warnings();
  const parallel = new Parallel(new NeverEnds(), { ...OPTIONS, ...more });
  const [pid] = await parallel.mapProcesses([how]);
  await parallel.close();
  expect(() => process.kill(Number(pid), 0)).toThrow("ESRCH");
  await expect.poll(() => heard).toHaveLength(1);
  expect(heard[0]).toMatchObject({ name: "ForkmapWarning", code: "FORKMAP_CLOSE" });
  expect(heard[0]!.message).toContain(`of NeverEnds (num 0, pid ${pid})`);
});

test("a thread whose teardown never ends is terminated, with a warning", async () => {
  const heard = warnings();
  const parallel = new Parallel(new NeverEnds(), OPTIONS);
  await parallel.mapThreads(["teardown"]);
  await parallel.close();
  await expect.poll(() => heard).toHaveLength(1);
  expect(heard[0]!.message).toContain("teardown()");
});

test("no warning is emitted when every child ends in time", async () => {
  const heard = warnings();
  const parallel = new Parallel(new NeverEnds(), { ...OPTIONS, closeTimeout: STALLED_MS });
  await parallel.mapProcesses(["at once"]);
  await parallel.close();
  await new Promise((resolve) => setImmediate(resolve));
  expect(heard).toEqual([]);
});

test.each([
  ["forked", { pool: 2 }],
  ["spawned", { pool: 2, startMethod: "spawn" }],
  ["spawned, with one item each", { concurrency: 2, startMethod: "spawn" }],
] as const)(
  "children that hang while they boot, %s, end as soon as no call needs them",
  async (_, more) => {
    const parallel = new Parallel(new Hangs(), { ...more, startupTimeout: 600_000 });
    const controller = new AbortController();
    const call = parallel.mapProcesses(["x", "x"], { signal: controller.signal });
    call.catch(() => {});
    await expect.poll(() => parallel.stats().pids.length).toBeGreaterThan(0);
    controller.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
    await parallel.close();
    expect(parallel.stats().pids).toEqual([]);
  },
);

test.each([-1, "1", Number.NaN])("refuses closeTimeout %s", (closeTimeout) => {
  expect(() => new Parallel(new NeverEnds(), { closeTimeout: closeTimeout as number })).toThrow(
    "Expected `closeTimeout` to be a number of ms from 0",
  );
});
