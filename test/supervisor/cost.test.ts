/** What it costs a forked instance that a supervisor knows it. Its CPU time is in bench/supervised.mjs. */
import { setTimeout as sleep } from "node:timers/promises";
import { MemoryMonitor, ProcessMonitor, Supervisor, UtilizationMonitor } from "forkmap/supervisor";
import { expect, test } from "vitest";
import { Hello } from "../fixtures/supervised/hello.mjs";
import { memoryOf } from "../../src/supervisor/process-memory.js";
import { ANY, contained } from "../support/serving.js";
import { statusOnce } from "../support/supervisor-status.js";
import { temporaryDirectory } from "../support/temporary.js";

const MIB = 2 ** 20;
const COUNT = 4;
/** So that each has been measured a few times. */
const SETTLE_MS = 3000;

test("an idle one has less than 1 MiB of its own more than one that no supervisor knows", async () => {
  const directory = temporaryDirectory();
  const container = contained({ startMethod: "fork", sockets: { http: ANY } });
  const monitors = [new MemoryMonitor(), new ProcessMonitor(), new UtilizationMonitor()];
  container.spawn(new Supervisor({ directory, monitors }), { name: "supervisor" });
  for (const supervised of [true, false])
    container.run(new Hello(), { name: String(supervised), count: COUNT, supervised });
  await container.waitUntilReady();
  await statusOnce(directory, ({ instances }) => {
    const known = instances.filter(({ isSupervised }) => isSupervised);
    return known.length === COUNT;
  });
  await sleep(SETTLE_MS);
  const [supervised, alone] = await Promise.all(
    ["true", "false"].map(async (name) => {
      const pids = container.instances.filter((each) => each.name === name);
      const own = await Promise.all(pids.map(async ({ pid }) => (await memoryOf(pid!))!.own!));
      return own.toSorted((a, b) => a - b)[COUNT / 2]!;
    }),
  );
  expect(supervised! - alone!).toBeLessThan(MIB);
});
