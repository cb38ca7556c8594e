/** Counters and gauges of the user's own, in a process that has no supervisor: the values are those of the test of supervisors. */
import { counter, gauge } from "forkmap/supervisor";
import { expect, test } from "vitest";

test.each([undefined, "", "a-b", "1st", "forkmap_items", "x".repeat(81)])(
  "the name %j is refused",
  (name) => {
    expect(() => counter(name as string)).toThrow(/^Expected the name of a metric/);
    expect(() => gauge(name as string)).toThrow(/^Expected the name of a metric/);
  },
);

test.each([-1, Number.NaN, Infinity, "3", null])("a counter does not take %j", (count) => {
  const counted = counter("counted_total");
  expect(() => counted.add(count as number)).toThrow(
    /^Expected a counter to go up by a number, got /,
  );
});

test.each([undefined, Number.NaN, Infinity, "3"])("a gauge does not take %j", (value) => {
  const held = gauge("held");
  expect(() => held.set(value as number)).toThrow(/^Expected a gauge to be a number, got /);
  expect(() => held.add(value as number)).toThrow(/^Expected a gauge to be a number, got /);
});

test("a name is that of a counter or of a gauge", () => {
  counter("either");
  expect(() => gauge("either")).toThrow(
    "Expected another name for the gauge: either is a counter already",
  );
});

test("counting without a supervisor takes no memory, however often a counter is made", () => {
  const before = process.memoryUsage().heapUsed;
  for (let time = 0; time < 300_000; time += 1) counter("often_total").add();
  // Each of them took 250 bytes.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(300_000 * 200);
});
