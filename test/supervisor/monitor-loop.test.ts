/** How monitors run side by side: what one does wrong is kept from the others. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Monitor, type SupervisedInstance } from "../../src/supervisor/monitor.js";
import { MonitorLoop } from "../../src/supervisor/monitor-loop.js";
import { forgetWarnings } from "../../src/supervisor/monitor-warning.js";
import { soon } from "../support/contained.js";
import { instanceOf, Replaced } from "../support/supervised.js";
import { warned } from "../support/warned.js";

const warnings = warned();
beforeEach(forgetWarnings);

let loop: MonitorLoop | undefined;
afterEach(() => loop?.stop());

function run(...monitors: readonly Monitor[]): MonitorLoop {
  loop = new MonitorLoop(monitors, () => new Replaced().context);
  loop.start();
  return loop;
}

abstract class Often extends Monitor {
  override readonly interval: number = 5;
}
class Counts extends Often {
  #seen: string[] = [];
  override register({ num }: SupervisedInstance): void {
    this.#seen.push(`register ${num}`);
  }
  override remove({ num }: SupervisedInstance): void {
    this.#seen.push(`remove ${num}`);
  }
  override run(): void {}
  override status(): object {
    return { seen: this.#seen };
  }
}
class Throws extends Often {
  override register(): void {
    throw new RangeError("by register");
  }
  override remove(): void {
    return Promise.reject(new RangeError("by remove")) as never;
  }
  override run(): void {
    throw new RangeError(`by run at ${performance.now()}`);
  }
  override status(): object {
    throw new RangeError("by status");
  }
}
class Rejects extends Often {
  override async run(): Promise<void> {
    // oxlint-disable-next-line no-throw-literal, typescript/only-throw-error
    throw "a string";
  }
  override status(): object {
    return { count: 1n };
  }
}
class Hangs extends Often {
  override run(): Promise<void> {
    return new Promise(() => {});
  }
}

it("one that throws, rejects or hangs does not stop the others, and is told of once", async () => {
  const loop = run(new Throws(), new Rejects(), new Hangs(), new Counts());
  const instance = instanceOf({ pid: 1 });
  loop.register(instance);
  loop.remove(instance);
  await soon(() => {
    expect(loop.status()[3]!.runs).toBeGreaterThan(20);
    expect(warnings.map(({ message }) => message.replace(/at [\d.]+/, "at #")).toSorted()).toEqual([
      "The monitor Hangs has been running for 1000 ms: it does not run again before run() has settled",
      'The monitor Rejects failed in run(): "a string" (a string)',
      expect.stringMatching(/^The monitor Rejects failed in status\(\): TypeError: .*BigInt/),
      "The monitor Throws failed in register(): RangeError: by register",
      "The monitor Throws failed in remove(): RangeError: by remove",
      "The monitor Throws failed in run(): RangeError: by run at #",
      "The monitor Throws failed in status(): RangeError: by status",
    ]);
  });
  expect(new Set(warnings.map(({ code }) => code))).toEqual(new Set(["FORKMAP_MONITOR"]));
  const [throws, rejects, hangs, counts] = loop.status();
  expect(throws).toMatchObject({ name: "Throws", interval: 5, error: expect.any(String) });
  expect(throws!.runs).toBeGreaterThan(1);
  expect(rejects!.runs).toBeGreaterThan(1);
  expect(hangs).toMatchObject({ runs: 1, error: expect.stringContaining("running for 1000 ms") });
  expect(counts).toEqual({
    name: "Counts",
    interval: 5,
    runs: expect.any(Number),
    lastRun: expect.any(Number),
    status: { seen: ["register 0", "remove 0"] },
  });
});

it("a run begins after the one before has settled, and goes on after a failure", async () => {
  let atOnce = 0;
  let most = 0;
  class Slow extends Often {
    override async run(): Promise<void> {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await new Promise((resolve) => setTimeout(resolve, 30));
      atOnce -= 1;
      if (this.#runs++ === 0) throw new Error("first");
    }
    #runs = 0;
  }
  const loop = run(new Slow());
  await soon(() => expect(loop.status()[0]!.runs).toBeGreaterThan(4));
  // Started and stopped in the middle of a run.
  loop.stop();
  loop.start();
  loop.start();
  const { runs } = loop.status()[0]!;
  await soon(() => expect(loop.status()[0]!.runs).toBeGreaterThan(runs + 3));
  expect(most).toBe(1);
  expect(loop.status()[0]).not.toHaveProperty("error");
  loop.stop();
  await soon(() => expect(atOnce).toBe(0));
  const after = loop.status()[0]!.runs;
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(loop.status()[0]!.runs).toBe(after);
});

it("an interval that is none is the usual one, with a warning", () => {
  class Odd extends Counts {
    override readonly interval = Number.NaN;
  }
  expect(run(new Odd()).status()[0]).toMatchObject({ interval: 10_000, runs: 0 });
  expect(warnings[0]!.message).toBe(
    "The monitor Odd has an `interval` that is not a number of ms from 1 to 2147483647, but NaN (a number): it is taken for 10000",
  );
});

it("does not keep the process alive", async () => {
  const before = process.getActiveResourcesInfo().filter((each) => each === "Timeout").length;
  run(new Counts(), new Hangs());
  const after = process.getActiveResourcesInfo().filter((each) => each === "Timeout").length;
  expect(after).toBe(before);
});
