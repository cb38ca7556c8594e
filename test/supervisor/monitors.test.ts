/** The monitors that only look. */
import { describe, expect, it } from "vitest";
import { ProcessMonitor, type ProcessSample } from "../../src/supervisor/process-monitor.js";
import {
  UtilizationMonitor,
  type UtilizationSummary,
} from "../../src/supervisor/utilization-monitor.js";
import { holding, instanceOf, node, Replaced } from "../support/supervised.js";

describe("ProcessMonitor", () => {
  class Noted extends ProcessMonitor {
    readonly #samples: ProcessSample[] = [];
    override async emit(sample: ProcessSample): Promise<void> {
      this.#samples.push(sample);
    }
    take(): ProcessSample[] {
      return this.#samples.splice(0);
    }
  }

  it("emits what each instance uses, with what it has started", async () => {
    const spin = `require("node:child_process").spawn(process.execPath, ["-e", "globalThis.held = Buffer.alloc(100 * 2 ** 20, 1); console.log(1); for (;;);"], { stdio: "inherit" });
      setInterval(() => {}, 1000);`;
    const busy = instanceOf(await node(spin), { num: 0 });
    const idle = instanceOf(await holding(1), { num: 1 });
    const program = new Replaced(busy, idle);
    const monitor = new Noted();
    await monitor.run(program.context);
    const first = monitor.take();
    expect(first).toMatchObject([
      { num: 0, name: "web", pool: undefined, pid: busy.pid, processes: 2, cpu: undefined },
      { num: 1, processes: 1, cpu: undefined },
    ]);
    expect(first[0]!.rss).toBeGreaterThan(100 * 2 ** 20);
    let samples: ProcessSample[];
    do {
      await monitor.run(program.context);
      samples = monitor.take();
    } while (samples[0]!.cpuSeconds < first[0]!.cpuSeconds + 0.3);
    expect(samples[0]!.cpu).toBeGreaterThan(0);
    expect(samples[0]!.cpu).toBeGreaterThan(samples[1]!.cpu!);
    expect(monitor.status()).toEqual({ instances: samples });
  });

  it("has options that are checked", () => {
    expect(Object.assign({}, new ProcessMonitor({ interval: 5 }))).toEqual({ interval: 5 });
    expect(() => new ProcessMonitor({ emit: () => {} } as never)).toThrow(
      new TypeError("Unknown option `emit` of a ProcessMonitor. There are: interval"),
    );
  });
});

describe("UtilizationMonitor", () => {
  it("sums up what instances of a name have noted", async () => {
    const instances = [0, 1, 2].map((num) => instanceOf({ pid: num + 1 }, { num }));
    const pooled = instanceOf({ pid: 9 }, { pool: "Resize", name: "Resize" });
    const program = new Replaced(...instances, pooled);
    const noted = [
      { forkmap_event_loop_utilization: 0.2, orders_total: 3 },
      { forkmap_event_loop_utilization: 0.6, orders_total: 4, rooms: 1 },
      { forkmap_event_loop_utilization: Number.NaN, orders_total: 5 },
    ];
    for (const [i, metrics] of noted.entries())
      program.metrics.set(instances[i]!, new Map(Object.entries(metrics)));
    const emitted: UtilizationSummary[] = [];
    class Noted extends UtilizationMonitor {
      override emit(summary: UtilizationSummary): void {
        emitted.push(summary);
      }
    }
    const monitor = new Noted();
    await monitor.run(program.context);
    const mean = expect.closeTo(0.4);
    expect(emitted).toEqual([
      {
        pool: undefined,
        name: "web",
        instances: 3,
        metrics: {
          forkmap_event_loop_utilization: {
            instances: 2,
            sum: expect.closeTo(0.8),
            min: 0.2,
            mean,
            max: 0.6,
          },
          orders_total: { instances: 3, sum: 12, min: 3, mean: 4, max: 5 },
          rooms: { instances: 1, sum: 1, min: 1, mean: 1, max: 1 },
        },
      },
      { pool: "Resize", name: "Resize", instances: 1, metrics: {} },
    ]);
    expect(monitor.status()).toEqual({ names: emitted });
  });

  it("has options that are checked", () => {
    expect(Object.assign({}, new UtilizationMonitor())).toEqual({ interval: 10_000 });
    expect(() => new UtilizationMonitor({ interval: "1" } as never)).toThrow(
      new TypeError(
        'Expected `interval` to be a number of ms from 1 to 2147483647, got "1" (a string)',
      ),
    );
  });
});
