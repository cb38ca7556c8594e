/** Metrics through OpenTelemetry's own SDK. */
import { metrics } from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { afterEach, expect, it } from "vitest";
import type { NumMetrics } from "../../src/supervisor/metric-families.js";
import { observeByOpenTelemetry } from "../../src/supervisor/open-telemetry.js";
import { counter, gauge, numOf } from "../support/metrics.js";

const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1_000_000 });
const provider = new MeterProvider({ readers: [reader] });

afterEach(async () => {
  metrics.disable();
  await provider.shutdown();
});

async function collect() {
  exporter.reset();
  await provider.forceFlush();
  return Object.fromEntries(
    exporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics)
      .flatMap(({ metrics }) => metrics)
      .map(({ descriptor: { name, unit }, dataPoints }) => [
        name,
        { unit, points: dataPoints.map(({ value, attributes }) => [value, attributes]) },
      ]),
  );
}

it("gives what Prometheus gets, with names and units of OpenTelemetry", async () => {
  let nums: NumMetrics[] = [
    numOf(0, {
      restarts: 3,
      memory: 2048,
      cpuSeconds: 2,
      metrics: new Map([
        ["forkmap_event_loop_utilization", gauge(0.5)],
        ["orders_total", counter(4)],
      ]),
    }),
  ];
  let collected = 0;
  metrics.setGlobalMeterProvider(provider);
  const stop = await observeByOpenTelemetry({
    collect: async () => {
      collected += 1;
      return nums;
    },
  });
  const web = { num: "0", name: "web" };
  expect(await collect()).toEqual({
    "forkmap.instances": {
      unit: "{instance}",
      points: ["starting", "ready", "stopping", "waiting"].map((state) => [
        state === "ready" ? 1 : 0,
        { state, name: "web" },
      ]),
    },
    "forkmap.restarts": { unit: "{restart}", points: [[3, web]] },
    "forkmap.failures": { unit: "{failure}", points: [[0, web]] },
    "forkmap.memory": { unit: "By", points: [[2048, web]] },
    "forkmap.cpu": { unit: "s", points: [[2, web]] },
    "forkmap.event_loop.utilization": { unit: "", points: [[0.5, web]] },
    orders_total: { unit: "", points: [[4, web]] },
  });
  // A metric that is new, and a container that counts from 0.
  nums = [numOf(0, { restarts: 1, metrics: new Map([["rooms", gauge(9)]]) })];
  expect((await collect())["forkmap.restarts"]!.points).toEqual([[4, web]]);
  expect((await collect())["rooms"]!.points).toEqual([[9, web]]);
  expect(collected).toBe(4);
  stop!();
  // The SDK goes on to export the last values.
  expect((await collect())["rooms"]!.points).toEqual([[9, web]]);
  expect(collected).toBe(4);
  // A supervisor that has begun knows no instance yet.
  nums = [];
  const stopOther = await observeByOpenTelemetry({ collect: async () => nums });
  nums = [numOf(0, { name: "late", metrics: new Map() })];
  await collect();
  const late = (await collect())["forkmap.restarts"]!.points as unknown[];
  expect(late).toContainEqual([0, { num: "0", name: "late" }]);
  stopOther!();
});
