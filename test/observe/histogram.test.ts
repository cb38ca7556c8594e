import { describe, expect, it } from "vitest";
// Not exported by the package.
import { Histogram } from "../../src/observe/histogram.js";

const DAY = 86_400_000;

describe("Histogram", () => {
  it("is all zeros while it is empty", () => {
    expect(new Histogram().summary()).toEqual({
      count: 0,
      min: 0,
      max: 0,
      mean: 0,
      p50: 0,
      p90: 0,
      p99: 0,
    });
  });

  it("reports a single value exactly", () => {
    const histogram = new Histogram();
    histogram.record(12.345);
    const { count, ...rest } = histogram.summary();
    expect(count).toBe(1);
    expect(new Set(Object.values(rest))).toEqual(new Set([12.345]));
  });

  it.each([
    ["microseconds", () => 0.001 + Math.random() * 0.02],
    ["milliseconds", () => Math.random() * 100],
    ["a long tail", () => Math.exp(Math.random() * 20 - 6)],
    ["days", () => DAY * (1 + 10 * Math.random())],
  ])("has each percentile within 0.8 % of the true one: %s", (_name, draw) => {
    const values = Array.from({ length: 20_000 }, draw);
    const histogram = new Histogram();
    for (const value of values) histogram.record(value);
    const { count, min, max, mean, ...percentiles } = histogram.summary();
    const sorted = values.toSorted((a, b) => a - b);
    expect({ count, min, max }).toEqual({ count: 20_000, min: sorted[0], max: sorted.at(-1) });
    expect(mean / (values.reduce((sum, each) => sum + each) / 20_000)).toBeCloseTo(1, 9);
    for (const [name, share] of [
      ["p50", 0.5],
      ["p90", 0.9],
      ["p99", 0.99],
    ] as const) {
      const exact = sorted[Math.ceil(share * 20_000) - 1];
      expect(Math.abs(percentiles[name] / exact - 1), name).toBeLessThan(0.008);
    }
  });

  it("counts a repeated value", () => {
    const histogram = new Histogram();
    histogram.record(1, 98);
    histogram.record(1000, 2);
    const { count, mean, p50, p90, p99 } = histogram.summary();
    expect({ count, mean }).toEqual({ count: 100, mean: 20.98 });
    for (const [got, exact] of [
      [p50, 1],
      [p90, 1],
      [p99, 1000],
    ]) {
      expect(Math.abs(got / exact - 1)).toBeLessThan(0.008);
    }
  });

  it("counts values out of its range and values that are not durations", () => {
    const histogram = new Histogram();
    for (const odd of [0, -1, Number.NaN, 1e-9, 1e15, Infinity]) histogram.record(odd);
    expect(histogram.summary()).toMatchObject({ count: 6, min: 0, max: Infinity });
    for (const value of Object.values(histogram.summary())) expect(value).not.toBeNaN();
  });

  it("records a value in far less than a microsecond", () => {
    const histogram = new Histogram();
    const begun = process.cpuUsage();
    for (let i = 0; i < 1_000_000; i += 1) histogram.record((i % 1000) / 100);
    expect(process.cpuUsage(begun).user).toBeLessThan(500_000);
    expect(histogram.summary().count).toBe(1_000_000);
  });
});
