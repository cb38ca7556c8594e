/** Runs the example of metrics: as many series as instances, however often these are killed. */
import { once } from "node:events";
import { mkdirSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import { descendants } from "./support/leftovers.js";
import { startScript } from "./support/run-script.js";
import { SOON } from "./support/soon.js";
import { temporaryDirectory } from "./support/temporary.js";

const PROGRAM = fileURLToPath(new URL("../build/examples/metrics.js", import.meta.url));
const PORT = 20_000 + (process.pid % 10_000);
const TIMES_KILLED = 3;

vi.setConfig({ testTimeout: 90_000 });

test("metrics by the durable number stay as many as there are instances", async () => {
  const root = temporaryDirectory();
  const directory = path.join(root, "metrics");
  const temporary = path.join(root, "tmp");
  mkdirSync(temporary);
  const program = startScript(PROGRAM, {
    env: { DIRECTORY: directory, WRITE_MS: "50", PORT: String(PORT), TMPDIR: temporary },
  });
  const ended = once(program, "exit");
  await vi.waitFor(async () => expect(await generations()).toEqual([1, 1, 1, 1]), SOON);

  for (let killed = 1; killed <= TIMES_KILLED; killed += 1) {
    for (const { pid } of jobs()) process.kill(pid, "SIGKILL");
    const next = killed + 1;
    await vi.waitFor(
      async () => expect(await generations()).toEqual([next, next, next, next]),
      SOON,
    );
  }

  const page = await read();
  expect(page.match(/^jobs_total\{.*$/gm)).toHaveLength(4);
  expect(readdirSync(directory).filter((name) => name.endsWith(".json"))).toEqual([
    "0.json",
    "1.json",
    "2.json",
    "3.json",
  ]);
  program.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
  expect(readdirSync(temporary)).toEqual([]);
});

function jobs() {
  return descendants().filter(({ command }) => command.startsWith("forkmap job num"));
}

async function generations(): Promise<number[]> {
  const found = (await read()).matchAll(/^instance_generation\{instance="(\d+)"\} (\d+)$/gm);
  return Array.from(found, ([, , generation]) => Number(generation));
}

async function read(): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${PORT}/metrics`)).text();
}
