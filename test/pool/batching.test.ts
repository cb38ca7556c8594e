import { describe, expect, it } from "vitest";
import { MAX_BATCH, Pace } from "../../src/pool/batching.js";

/** The batch size that is reached when every item costs so many ms. */
function settled(ms: number, bytes = 10, rounds = 20): number {
  const pace = new Pace();
  for (let i = 0; i < rounds; i += 1) pace.note(pace.size, pace.size * ms, pace.size * bytes);
  return pace.size;
}

describe("Pace", () => {
  it("begins with one item, and grows at most eightfold at a time", () => {
    const pace = new Pace();
    const sizes = [pace.size];
    for (let i = 0; i < 5; i += 1) {
      pace.note(pace.size, 0, 0);
      sizes.push(pace.size);
    }
    expect(sizes).toEqual([1, 8, 64, 512, MAX_BATCH, MAX_BATCH]);
  });

  it.each([
    [20, 1],
    [16, 1],
    [1, 16],
    [0.1, 160],
    [0.0001, MAX_BATCH],
  ])("chooses a size of a few ms for items of %d ms: %d of them", (ms, size) => {
    expect(Math.abs(settled(ms) - size)).toBeLessThanOrEqual(1);
  });

  it("chooses a smaller size for long results, but at least one item", () => {
    expect(settled(0.0001, 1024)).toBe(128);
    expect(settled(0.0001, 10 * 1024 * 1024)).toBe(1);
  });

  it("shrinks immediately when items are slow", () => {
    const pace = new Pace();
    for (let i = 0; i < 10; i += 1) pace.note(pace.size, 0, 0);
    pace.note(10, 1000, 100);
    expect(pace.size).toBe(1);
  });
});
