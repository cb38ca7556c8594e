import { describe, expect, it } from "vitest";
import { batchMs, mostJobs, SlowStart } from "../../../src/queue/bullmq/job-window.js";

describe("the window of jobs", () => {
  it("grows with the slots of all machines, and so do batches, for at most 2,000 jobs a second", () => {
    expect([0, 8, 100, 8000].map(mostJobs)).toEqual([16, 16, 200, 16_000]);
    expect([0, 8, 100, 8000].map(batchMs)).toEqual([50, 50, 50, 4000]);
  });
});

describe("the slow start of a call", () => {
  it("allows some jobs, another for each that has ended, and all as time passes", async () => {
    let onMore!: () => void;
    const more = new Promise<void>((resolve) => (onMore = resolve));
    const start = new SlowStart(() => onMore());
    expect(start.allows(63)).toBe(true);
    expect(start.allows(1_000_000)).toBe(false);
    await more;
    expect(start.allows(64)).toBe(true);
    for (let ended = 0; ended < 1_000_000; ended += 1) start.noteEnd();
    expect(start.allows(1_000_000)).toBe(true);
    start.close();
  });

  it("calls nobody when it is closed", async () => {
    let calls = 0;
    const start = new SlowStart(() => (calls += 1));
    expect(start.allows(1_000_000)).toBe(false);
    start.close();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(calls).toBe(0);
  });
});
