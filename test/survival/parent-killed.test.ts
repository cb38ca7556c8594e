/** However and whenever the parent ends: two seconds later no process and no directory of it exist. */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { processesOf } from "../fixtures/remains.mjs";
import { fixture, startScript } from "../support/run-script.js";

const SIGNALS = ["SIGKILL", "SIGTERM", "SIGINT"] as const;
const LATEST_KILL_MS = 600;
const GRACE_MS = 2000;
const AT_ONCE = 5;

let root: string;

beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), "parent-killed-"));
});
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

describe.each([
  { startMethod: "fork", times: 50 },
  { startMethod: "spawn", times: 10 },
])("a parent whose children are made by $startMethod", ({ startMethod, times }) => {
  test(`leaves nothing behind, ${times} times`, { timeout: 120_000 }, async () => {
    const left: Remains[] = [];
    let next = 0;
    const runInTurn = async () => {
      while (next < times) {
        const remains = await killedOnce(startMethod, next++);
        if (remains.processes.length > 0 || remains.scratch.length > 0) left.push(remains);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, runInTurn));
    expect(left).toEqual([]);
  });
});

interface Remains {
  readonly run: string;
  readonly processes: string[];
  readonly scratch: string[];
}

async function killedOnce(startMethod: string, number: number): Promise<Remains> {
  const signal = SIGNALS[number % SIGNALS.length]!;
  const scratchRoot = mkdtempSync(path.join(root, "run-"));
  const mark = path.basename(scratchRoot) + process.pid;
  const script = startScript(fixture("lasting-run.mjs"), {
    args: [startMethod, scratchRoot],
    env: { FORKMAP_TEST_MARK: mark },
  });
  const exited = once(script, "exit");
  let said = "";
  script.stderr!.on("data", (chunk) => (said += chunk));
  const hasChildren = () => marked(mark).some((each) => each.includes("forkmap Lasting"));
  // Every second delay starts at the first child: on a slow machine the other kills come before any child exists.
  const fromFirstChild = number % 2 === 1;
  const assertRuns = () => {
    expect(script.exitCode ?? script.signalCode, `ended by itself: ${said}`).toBeNull();
  };
  const untilChildren = async () => {
    while (!hasChildren()) {
      assertRuns();
      await sleep(10);
    }
  };
  if (fromFirstChild) await untilChildren();
  const delay = randomInt(LATEST_KILL_MS);
  await sleep(delay);
  assertRuns();
  // Without a living child there would be nothing to test.
  if (fromFirstChild) await untilChildren();
  script.kill(signal);
  await exited;

  const ended = performance.now();
  let processes = marked(mark);
  let scratch = readdirSync(scratchRoot);
  while ((processes.length > 0 || scratch.length > 0) && performance.now() < ended + GRACE_MS) {
    await sleep(50);
    processes = marked(mark);
    scratch = readdirSync(scratchRoot);
  }
  // Leftovers are killed here by pid, so that a failure does not affect the other tests.
  for (const each of processes) kill(Number.parseInt(each, 10));
  return {
    run: `${signal} ${delay} ms after the ${fromFirstChild ? "first child" : "start"}`,
    processes,
    scratch,
  };
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended in the meantime.
  }
}

/** Does not count zombies: this process has no child but the script, so no parent is given. */
function marked(mark: string): string[] {
  return (processesOf as (mark: string, parent: number) => string[])(mark, -1);
}
