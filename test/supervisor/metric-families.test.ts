/** Metrics of instances: as many series as nums, and counters that never go back. */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import type { Family } from "../../src/supervisor/family-page.js";
import {
  MetricFamilies,
  type MetricsSource,
  type NumMetric,
  type NumMetrics,
} from "../../src/supervisor/metric-families.js";
import { forgetWarnings } from "../../src/supervisor/monitor-warning.js";
import { Prometheus } from "../../src/supervisor/prometheus.js";
import { counter, gauge, numOf, parse } from "../support/metrics.js";
import { warned } from "../support/warned.js";

const warnings = warned();
beforeEach(forgetWarnings);

const valueIn = (families: readonly Family[], name: string, labels: object) =>
  families
    .find((family) => family.name === name)
    ?.series.find((series) => JSON.stringify(series.labels) === JSON.stringify(labels))?.value;

describe("a page for Prometheus", () => {
  it("has all metrics, by num and name", async () => {
    const nums = [
      numOf(0, {
        restarts: 2,
        failures: 1,
        memory: 1024,
        cpuSeconds: 1.5,
        metrics: new Map([
          ["forkmap_event_loop_utilization", gauge(0.25)],
          ["forkmap_event_loop_delay_seconds", gauge(0.001)],
          ["forkmap_items_total", counter(7)],
          ["forkmap_items_in_flight", gauge(3)],
          ["orders_total", counter(4, { help: "Orders\nof \\ all" })],
        ]),
      }),
      numOf(1, { state: "waiting", name: 'we"b\n', pool: "Resize" }),
    ];
    const page = await (await Prometheus.of({ collect: () => nums })).page();
    expect(page.contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
    const { series, types, helps } = parse(page.text);
    expect(series).toMatchObject({
      'forkmap_instances{state="ready",name="web"}': 1,
      'forkmap_instances{state="waiting",name="web"}': 0,
      'forkmap_instances{state="waiting",name="we\\"b\\n",pool="Resize"}': 1,
      'forkmap_restarts_total{num="0",name="web"}': 2,
      'forkmap_restarts_total{num="1",name="we\\"b\\n",pool="Resize"}': 0,
      'forkmap_failures_total{num="0",name="web"}': 1,
      'forkmap_memory_bytes{num="0",name="web"}': 1024,
      'forkmap_cpu_seconds_total{num="0",name="web"}': 1.5,
      'forkmap_event_loop_utilization{num="0",name="web"}': 0.25,
      'forkmap_event_loop_delay_seconds{num="0",name="web"}': 0.001,
      'forkmap_items_total{num="0",name="web"}': 7,
      'forkmap_items_in_flight{num="0",name="web"}': 3,
      'orders_total{num="0",name="web"}': 4,
    });
    expect(Object.keys(series)).toHaveLength(8 + 2 + 2 + 2 + 5);
    expect(types).toMatchObject({ orders_total: "counter", forkmap_memory_bytes: "gauge" });
    expect(helps["orders_total"]).toBe("Orders\\nof \\\\ all");
    expect(page.text).not.toMatch(/pid/);
  });

  it("has the same series after 100 generations, and counters only rise", async () => {
    const states = ["starting", "ready", "stopping", "waiting"] as const;
    let nums: NumMetrics[] = [];
    const prometheus = await Prometheus.of({ collect: () => nums });
    let first: string[] | undefined;
    const before: Record<string, number> = {};
    for (let generation = 1; generation <= 100; generation += 1) {
      nums = [0, 1, 2, 3].map((num) =>
        numOf(num, {
          state: states[(generation + num) % 4]!,
          // Twice the container is another one, which counts from 0.
          restarts: generation % 40,
          failures: generation % 40,
          memory: (generation + num) % 4 === 3 ? undefined : generation,
          cpuSeconds: generation % 7 === 6 ? undefined : generation,
          metrics: new Map([
            ["forkmap_items_total", counter(generation * 10)],
            // Its file was removed now and then.
            ["orders_total", counter(generation % 25)],
            ["all_orders_total", counter(generation % 25, { byNum: false })],
          ]),
        }),
      );
      // One has gone for a while.
      if (generation > 60 && generation < 70) nums.pop();
      const { series, types } = parse((await prometheus.page()).text);
      const names = Object.keys(series).toSorted();
      // By then each has had a child.
      if (generation === 4) first = names;
      if (first && nums.length === 4) expect(names).toEqual(first);
      for (const [name, value] of Object.entries(series)) {
        if (types[name.slice(0, name.indexOf("{"))] !== "counter") continue;
        expect(value, name).toBeGreaterThanOrEqual(before[name] ?? 0);
      }
      Object.assign(before, series);
    }
    expect(before['orders_total{num="0",name="web"}']).toBe(24 * 4);
    expect(before['forkmap_restarts_total{num="0",name="web"}']).toBe(39 * 2 + 20);
    expect(before['all_orders_total{name="web"}']).toBe(24 * 4 * 4);
    expect(before['forkmap_memory_bytes{num="1",name="web"}']).toBe(100);
  });

  it("gives all that ask at a time the same", async () => {
    let collected = 0;
    const source: MetricsSource = {
      collect: async () => {
        collected += 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
        return [numOf(0)];
      },
    };
    const prometheus = await Prometheus.of(source);
    const pages = await Promise.all([1, 2, 3].map(() => prometheus.page()));
    expect(new Set(pages).size).toBe(1);
    expect(collected).toBe(1);
    await prometheus.page();
    expect(collected).toBe(2);
  });
});

describe("counters", () => {
  it("of two containers with the same num, one of which ends, are one sum", () => {
    const families = new MetricFamilies();
    const restarts = (...nums: readonly NumMetrics[]) =>
      valueIn(families.of(nums), "forkmap_restarts_total", { num: "0", name: "web" });
    const old = numOf(0, { run: "a", restarts: 5, state: "stopping" });
    expect(restarts(old)).toBe(5);
    expect(restarts(old, numOf(0, { run: "b" }))).toBe(5);
    expect(restarts(old, numOf(0, { run: "b", restarts: 2 }))).toBe(7);
    expect(restarts(numOf(0, { run: "b", restarts: 2 }))).toBe(7);
    expect(restarts(numOf(0, { run: "b", restarts: 3 }))).toBe(8);
  });

  it("are what they were when they cannot be added to", () => {
    const families = new MetricFamilies();
    const jobs = (value: number) =>
      valueIn(families.of([numOf(0, { metrics: new Map([["jobs", counter(value)]]) })]), "jobs", {
        num: "0",
        name: "web",
      });
    expect([3, Number.NaN, -1, Infinity, 4].map(jobs)).toEqual([3, 3, 3, 3, 4]);
  });
});

describe("counters that another process takes over", () => {
  const hits = (num: number, value: number) =>
    numOf(num, { run: "1", metrics: new Map([["hits_total", counter(value, { byNum: false })]]) });
  const sumOf = (families: MetricFamilies, ...nums: readonly NumMetrics[]) =>
    families.of(nums).find(({ name }) => name === "hits_total")?.series;

  it("do not fall while not all that count are known to it", () => {
    const before = new MetricFamilies();
    const labels = { name: "web" };
    expect(sumOf(before, hits(0, 5), hits(1, 7))).toEqual([{ labels, value: 12 }]);
    const saved = JSON.parse(JSON.stringify(before.save())) as ReturnType<MetricFamilies["save"]>;
    const after = new MetricFamilies(saved);
    expect(sumOf(after, hits(0, 6))).toEqual([{ labels, value: 13 }]);
    expect(sumOf(after, hits(0, 6), hits(1, 9))).toEqual([{ labels, value: 15 }]);
  });

  it("do not begin anew because they had done so before", () => {
    const families = new MetricFamilies();
    const restarts = (from: MetricFamilies, count: number) =>
      valueIn(from.of([numOf(0, { run: "a", restarts: count })]), "forkmap_restarts_total", {
        num: "0",
        name: "web",
      });
    expect([2, 1].map((count) => restarts(families, count))).toEqual([2, 3]);
    const after = new MetricFamilies(JSON.parse(JSON.stringify(families.save())));
    expect([1, 1, 2].map((count) => restarts(after, count))).toEqual([3, 3, 4]);
  });

  it("are counted in the order in which they were seen", async () => {
    const families = new MetricFamilies();
    let seen = 0;
    const collect = async () => {
      const nums = [hits(0, (seen += 1))];
      await sleep(seen === 1 ? 50 : 0);
      return nums;
    };
    const values = await Promise.all(
      [1, 2, 3].map(async () =>
        valueIn(await families.from({ collect }), "hits_total", { name: "web" }),
      ),
    );
    expect(values).toEqual([1, 2, 3]);
  });

  it("are saved before anybody sees them", () => {
    let saved: unknown;
    const families: MetricFamilies = new MetricFamilies(undefined, () => (saved = families.save()));
    const [series] = sumOf(families, hits(0, 5))!;
    expect(series!.value).toBe(5);
    expect(sumOf(new MetricFamilies(saved as never), hits(1, 1))).toMatchObject([{ value: 6 }]);
  });
});

describe("counters of runs that are gone", () => {
  const hits = (run: string, value: number, num = 0) =>
    numOf(num, { run, metrics: new Map([["hits_total", counter(value)]]) });
  const shown = (families: MetricFamilies, ...nums: readonly NumMetrics[]) => {
    const family = families.of(nums).find(({ name }) => name === "hits_total");
    return family?.series.map(({ labels, value }) => [labels["num"], value]);
  };

  it("are counted once, however many there are and however often they are looked at", () => {
    const families = new MetricFamilies();
    const all = Array.from({ length: 40 }, (_, run) => hits(`1-${run}`, run));
    const sum = (40 * 39) / 2;
    for (let time = 0; time < 3; time += 1) expect(shown(families, ...all)).toEqual([["0", sum]]);
    // Files of most are removed.
    for (let time = 0; time < 3; time += 1)
      expect(shown(families, ...all.slice(35))).toEqual([["0", sum]]);
    expect(shown(families, ...all.slice(35), hits("1-40", 5))).toEqual([["0", sum + 5]]);
  });

  it("are shown all the same, also by another process", () => {
    const families = new MetricFamilies();
    families.note([hits("gone", 1, 2)]);
    expect(shown(families, hits("a", 5), hits("b", 7, 1))).toEqual([
      ["0", 5],
      ["1", 7],
    ]);
    expect(shown(families, hits("c", 1))).toEqual([
      ["0", 6],
      ["1", 7],
    ]);
    const after = new MetricFamilies(JSON.parse(JSON.stringify(families.save())));
    expect(shown(after, hits("c", 2))).toEqual([
      ["0", 7],
      ["1", 7],
    ]);
    after.restore(families.save());
    expect(shown(after)).toEqual([
      ["0", 6],
      ["1", 7],
    ]);
  });
});

it("shows no less of a num that is gone: its counters, and neither memory nor state", () => {
  const families = new MetricFamilies();
  const names = (...nums: readonly NumMetrics[]) =>
    families.of(nums).flatMap(({ name, series }) => (series.length > 0 ? [name] : []));
  const counters = ["cpu_seconds", "failures", "restarts"].map((name) => `forkmap_${name}_total`);
  const all = names(numOf(0, { run: "a", cpuSeconds: 2, memory: 5 }));
  expect(all).toEqual(expect.arrayContaining([...counters, "forkmap_memory_bytes"]));
  expect(names().toSorted()).toEqual(counters);
});

describe("names of metrics", () => {
  const namesFor = (...metrics: readonly (readonly [string, NumMetric])[]) =>
    new MetricFamilies()
      .of(metrics.map((each, num) => numOf(num, { metrics: new Map([each]) })))
      .map(({ name }) => name)
      .filter((name) => !/^forkmap_(instances|restarts|failures)/.test(name));

  it("are made valid", () => {
    expect(namesFor(["db.pool-size", gauge(1)], ["2xx", gauge(1)], ["größe:a", gauge(1)])).toEqual([
      "db_pool_size",
      "_2xx",
      "gr__e_a",
    ]);
    expect(warnings).toEqual([]);
  });

  it("that mean two things are left out, with one warning", () => {
    const both = () =>
      namesFor(
        ["a.b", gauge(1)],
        ["a_b", gauge(1)],
        ["jobs", gauge(1)],
        ["jobs", counter(1)],
        ["forkmap_instances", gauge(1)],
        ["forkmap.restarts.total", counter(1)],
      );
    expect(both()).toEqual(["a_b", "jobs"]);
    both();
    expect(warnings).toEqual(
      [
        "The metric a_b of web is left out: it would be called a_b for Prometheus, as a.b is already",
        "The metric jobs of web is left out: it is a counter here, and elsewhere a gauge",
        "The metric forkmap_instances of web is left out: it is a name of this package's own",
        "The metric forkmap.restarts.total of web is left out: it is a name of this package's own",
      ].map((message) => ({ message, code: "FORKMAP_METRICS" })),
    );
  });
});
