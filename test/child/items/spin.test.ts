/** A child that expects more items soon keeps its event loop turning, if there is a processor for it. */
import { spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { Spin } from "../../../src/child/items/spin.js";
import { processorCount } from "../../../src/index.js";
import { Immediates } from "../../fixtures/immediates.mjs";
import { opened } from "../../support/opened.js";
import { fixture, runScript } from "../../support/run-script.js";

const LONG_MS = 5;
const hasTaskset = process.platform === "linux" && spawnSync("taskset", ["-V"]).status === 0;

/** Makes items come as soon as the child is idle. This process may be interrupted in between, so it tries several times. */
function itemsAtOnce(spin: Spin): boolean {
  for (let times = 0; times < 100 && !spin.isOn; times += 1) {
    spin.begin();
    spin.end();
    spin.begin();
  }
  return spin.isOn;
}

/** Returns how many opportunities the child omits before it spins again. */
async function omitted(spin: Spin): Promise<number> {
  await sleep(LONG_MS);
  expect(spin.isOn).toBe(false);
  let count = -1;
  while (!spin.isOn) {
    spin.end();
    spin.begin();
    count += 1;
    // Each waits for nothing but a fast enough processor.
    expect(count).toBeLessThan(100_000);
  }
  return count;
}

describe("a child that has become idle", () => {
  test("spins if the last items came at once, and no longer once more have come", () => {
    const spin = new Spin();
    spin.begin();
    expect(spin.isOn).toBe(false);
    expect(itemsAtOnce(spin)).toBe(true);
    spin.end();
    expect(spin.isOn).toBe(false);
  });

  test("sleeps if the last items came late", async () => {
    const spin = new Spin();
    spin.begin();
    await sleep(LONG_MS);
    spin.end();
    spin.begin();
    expect(spin.isOn).toBe(false);
  });

  test("omits ever more opportunities while it spins in vain", async () => {
    const spin = new Spin();
    expect(itemsAtOnce(spin)).toBe(true);
    const counts: number[] = [];
    for (let times = 0; times < 4; times += 1) counts.push(await omitted(spin));
    // One more whenever this process was interrupted.
    for (const [place, expected] of [4, 16, 64, 256].entries()) {
      expect(counts[place]).toBeGreaterThanOrEqual(expected);
    }
    expect(counts[0]).toBeLessThan(256);
  });
});

test.each(["fork", "spawn"] as const)("never two at a time: %s", async (startMethod) => {
  const parallel = opened(new Immediates(), { pool: 1, startMethod });
  let most = 0;
  for (let i = 0; i < 5000; i += 1) most = Math.max(most, await parallel.run(i));
  expect(most).toBeLessThanOrEqual(1);
});

describe.each([
  ["fork", "run"],
  ["spawn", "run"],
  ["fork", "runThread"],
])("calls one after another, %s, %s", (startMethod, verb) => {
  const args = [startMethod, verb];

  test.runIf(processorCount() > 1)("spin where a processor is free", async () => {
    const ran = await runScript(fixture("spins-run.mjs"), { args });
    expect(ran).toMatchObject({ code: 0, stdout: "some\n", stderr: "" });
  });

  test.runIf(hasTaskset)("never on a single processor", async () => {
    const ran = await runScript(fixture("spins-run.mjs"), {
      args,
      command: ["taskset", "-c", "0"],
    });
    expect(ran).toMatchObject({ code: 0, stdout: "none\n", stderr: "" });
  });
});
