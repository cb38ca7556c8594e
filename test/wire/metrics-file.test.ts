/** The file of metrics of one num: whose it is, by name and content. */
import { describe, expect, it } from "vitest";
import {
  METRICS_BYTES,
  metricsFile,
  MetricsMemory,
  ownerIn,
  readMetrics,
} from "../../src/wire/metrics-file.js";

const LONG = "LongName".repeat(14);
const WIDE = "東京".repeat(40);

describe("the file of a name", () => {
  it.each([
    ["東京", "大阪"],
    ["a-b", "a_b"],
    ["a.b", "a-b"],
    [`${LONG}1`, `${LONG}2`],
    ["", "_"],
  ])("%j is another than that of %j", (one, other) => {
    const [first, second] = [one, other].map((name) => metricsFile({ run: "1-2", num: 3, name }));
    expect(first).not.toBe(second);
    for (const file of [first, second]) expect(file).toMatch(/^metrics-1-2-3-\w{0,100}$/);
  });
});

it.each([
  ["web", undefined],
  [LONG, LONG],
  [WIDE, WIDE],
  ['q"uo\\te\n', ""],
])("it says that it is of %j in the pool %j", (name, pool) => {
  const memory = new ArrayBuffer(METRICS_BYTES);
  const metrics = new MetricsMemory(memory);
  metrics.own({ name, pool });
  expect(ownerIn(Buffer.from(memory))).toEqual({ name, pool });
});

it("it has as many metrics as there is room for, after the owner", () => {
  const memory = new ArrayBuffer(METRICS_BYTES);
  const metrics = new MetricsMemory(memory);
  metrics.own({ name: WIDE, pool: WIDE });
  const type = "counter";
  const definitions = Array.from({ length: 63 }, (_, i) => ({
    name: `metric_${i}`,
    help: `number ${i}`,
    type,
    byNum: i % 2 === 0,
  })) as { name: string; help: string; type: "counter"; byNum: boolean }[];
  for (const [i, definition] of definitions.entries())
    metrics.values[metrics.place(definition)!] = i;
  expect(metrics.place({ name: "another", help: "", type, byNum: true })).toBeUndefined();
  const expected = definitions.map((definition, value) => ({ ...definition, value }));
  expect(readMetrics(metrics.used)).toEqual(expected);
  // The next child of the num finds them in the same places.
  const next = new MetricsMemory(memory);
  for (const [i, definition] of definitions.entries())
    expect(next.values[next.place(definition)!]).toBe(i);
});
