/** A garbage profile has the collections of garbage between its start and its end. */
import { describe, expect, test } from "vitest";
import { CHILDREN, diagnosed, FORKED } from "../../support/diagnosed.js";

const START = { operation: "garbage_profile_start" };
const STOP = { operation: "garbage_profile_stop" };

describe.each(CHILDREN)("in %s", (_, options) => {
  test("it has pauses by kind, what they bring, and the longest ones whole", async () => {
    const work = Array.from({ length: 10 }, () => ({ does: "collectable" }));
    const answers = await diagnosed(options, START, ...work, { ...STOP, args: { top: 1 } });
    const { pauses, byKind, statistics, omitted } = answers.at(-1).value;

    expect(pauses.count).toBeGreaterThan(1);
    expect(pauses.total).toBeGreaterThan(0);
    expect(pauses.max).toBeLessThanOrEqual(pauses.total);
    // Each of 400 calls makes 80 KB of garbage; some of it has not been collected yet.
    expect(pauses.reclaimed).toBeGreaterThan(10_000_000);
    expect(byKind.Scavenge.count).toBeGreaterThan(0);
    const counts = Object.values(byKind).map(({ count }: any) => count as number);
    expect(counts.reduce((a, b) => a + b)).toBe(pauses.count);
    expect(statistics).toHaveLength(1);
    expect(statistics[0].cost / 1000).toBe(pauses.max);
    expect(omitted).toBe(pauses.count - 1);
  });
});

test("what is out of order is an error", async () => {
  const [none, , twice, , again] = await diagnosed(FORKED, STOP, START, START, STOP, STOP);
  expect(none.error).toBe(
    "Expected a garbage profile in this child, but there is none: begin it with garbage_profile_start",
  );
  expect(again.error).toBe(none.error);
  expect(twice.error).toBe(
    "Expected no garbage profile in this child, but garbage_profile_start has begun one: end it with garbage_profile_stop",
  );
});
