/** What the memory monitor replaces, by the memory of real processes. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { deserialize, serialize } from "node:v8";
import { beforeEach, describe, expect, it } from "vitest";
import { MemoryMonitor } from "../../src/supervisor/memory-monitor.js";
import { forgetWarnings } from "../../src/supervisor/monitor-warning.js";
import { freeMemory } from "../../src/system/free-memory.js";
import { Shares } from "../fixtures/services/shares.mjs";
import { contained } from "../support/contained.js";
import { holding, instanceOf, node, Replaced } from "../support/supervised.js";
import { warned } from "../support/warned.js";

const MIB = 2 ** 20;
const warnings = warned();
beforeEach(forgetWarnings);

/** A process that takes so many MiB more for each line that it is sent, or for a negative number gives back what it has taken last. */
async function growing() {
  const child = await node(`
    const held = [];
    require("node:v8").setFlagsFromString("--expose-gc");
    const gc = require("node:vm").runInNewContext("gc");
    console.log("ready");
    require("node:readline").createInterface(process.stdin).on("line", (mib) => {
      if (mib < 0) held.pop(), gc();
      else held.push(Buffer.alloc(mib * 2 ** 20, 1));
      console.log(held.length);
    });`);
  return {
    pid: child.pid,
    async grow(mib: number): Promise<void> {
      child.stdin!.write(`${mib}\n`);
      await once(child.stdout!, "data");
    },
  };
}

describe("limit", () => {
  it("replaces the instance that has more, and says the numbers", async () => {
    const small = instanceOf(await holding(1), { num: 0 });
    const large = instanceOf(await holding(300), { num: 1 });
    const program = new Replaced(small, large);
    const monitor = new MemoryMonitor({ limit: 200 * MIB });
    await monitor.run(program.context);
    expect(program.nums).toEqual([1]);
    expect(program.reasons[0]).toMatch(
      /^it has 3\d\d(\.\d)? MiB of memory \(PSS\), more than its limit of 200 MiB$/,
    );
    expect(monitor.status()).toMatchObject({ replaced: 1, measure: "PSS" });
    expect(warnings).toEqual([]);
  });

  it("tells it once while it is still there, and again after a while", async () => {
    const program = new Replaced(instanceOf(await holding(300)));
    const monitor = new MemoryMonitor({ limit: 200 * MIB });
    for (let run = 1; run <= 6; run += 1) await monitor.run(program.context);
    expect(program.replaced).toHaveLength(1);
    await monitor.run(program.context);
    expect(program.replaced).toHaveLength(2);
    expect(monitor.status()).toMatchObject({ replaced: 1 });
  });

  it("gives a young child time, and more each time that it is of no use, with a warning", async () => {
    const child = await holding(300);
    const interval = 1000;
    const monitor = new MemoryMonitor({ limit: 200 * MIB, interval });
    const ages = [999, 1000, 1999, 2000, 3999, 4000];
    const replaced: number[] = [];
    for (const [i, age] of ages.entries()) {
      const program = new Replaced(instanceOf(child, { generation: i, age }));
      await monitor.run(program.context);
      if (program.replaced.length > 0) replaced.push(age);
    }
    expect(replaced).toEqual([1000, 2000, 4000]);
    expect(warnings).toEqual([
      {
        code: "FORKMAP_MONITOR",
        message: expect.stringMatching(
          /^web num 0 is replaced when it is only 1 s old, and the next is given 2 s: it has 3.*200 MiB\. If it needs that much from the beginning, raise the limit$/,
        ),
      },
    ]);
    // One that has lived long is no sign that the limit is too low.
    await monitor.run(new Replaced(instanceOf(child, { age: 100_000 })).context);
    const next = new Replaced(instanceOf(child, { age: 1000 }));
    await monitor.run(next.context);
    expect(next.replaced).toHaveLength(1);
  });

  it("gives the next more time also if the machine is so busy that each is looked at late", async () => {
    const child = await holding(300);
    const interval = 10;
    const monitor = new MemoryMonitor({ limit: 200 * MIB, interval });
    await monitor.run(new Replaced(instanceOf(await holding(1))).context);
    await sleep(10 * interval);
    const late = new Replaced(instanceOf(child, { age: 5 * interval }));
    await monitor.run(late.context);
    expect(late.replaced).toHaveLength(1);
    const next = new Replaced(instanceOf(child, { generation: 2, age: 1.9 * interval }));
    await monitor.run(next.context);
    expect(next.replaced).toEqual([]);
    expect(warnings).toHaveLength(1);
  });

  it("leaves forked instances alone that share more than it", async () => {
    const { container } = contained();
    container.run(new Shares(300), { count: 8, name: "web" });
    await container.waitUntilReady();
    const instances = container.instances.map(({ num, pid }) => instanceOf({ pid: pid! }, { num }));
    const program = new Replaced(...instances);
    const monitor = new MemoryMonitor({ limit: 150 * MIB, totalLimit: 700 * MIB });
    await monitor.run(program.context);
    expect(program.replaced).toEqual([]);
    expect((monitor.status() as { total: number }).total).toBeLessThan(600 * MIB);
    const strict = new MemoryMonitor({ totalLimit: 250 * MIB });
    await strict.run(program.context);
    expect(program.replaced).toHaveLength(1);
  });

  it("does not replace instances in threads of one process, which have its memory together", async () => {
    const child = await holding(300);
    const program = new Replaced(instanceOf(child, { num: 0 }), instanceOf(child, { num: 1 }));
    const monitor = new MemoryMonitor({ limit: 200 * MIB, totalLimit: 500 * MIB });
    await monitor.run(program.context);
    expect(program.replaced).toEqual([]);
    const { total } = monitor.status() as { total: number };
    expect(total).toBeGreaterThan(300 * MIB);
    expect(total).toBeLessThan(500 * MIB);
  });

  it("forgets an instance that has ended while others are looked at", async () => {
    const program = new Replaced(instanceOf(await holding(300)));
    const monitor = new MemoryMonitor({ limit: 200 * MIB });
    const run = monitor.run(program.context);
    monitor.remove(program.instances[0]!);
    await run;
    expect(program.replaced).toEqual([]);
    expect(monitor.status()).toMatchObject({ instances: [] });
  });
});

describe("growth", () => {
  it("replaces a process that leaks, though its memory falls now and then", async () => {
    const leaking = await growing();
    const program = new Replaced(instanceOf(leaking));
    const monitor = new MemoryMonitor({ growth: { samples: 5, threshold: 50 * MIB } });
    await monitor.run(program.context);
    for (let sample = 1; program.replaced.length === 0; sample += 1) {
      expect(sample).toBeLessThan(16);
      await leaking.grow(sample % 3 === 0 ? -1 : 15);
      await monitor.run(program.context);
    }
    expect(program.reasons[0]).toMatch(
      /^its memory \(PSS\) has risen 5 times, from \d+(\.\d)? MiB to \d+(\.\d)? MiB; more than 50 MiB in 5 rises are taken for a leak$/,
    );
  });

  it("leaves one alone whose memory has reached what it needs", async () => {
    const busy = await growing();
    const program = new Replaced(instanceOf(busy));
    const monitor = new MemoryMonitor({ growth: { samples: 5, threshold: 50 * MIB } });
    for (let cycle = 0; cycle < 3; cycle += 1) {
      for (let sample = 0; sample < 4; sample += 1) {
        await monitor.run(program.context);
        await busy.grow(15);
      }
      for (let sample = 0; sample < 6; sample += 1) await monitor.run(program.context);
    }
    expect(program.replaced).toEqual([]);
  });
});

describe("limits of all", () => {
  it("replace the largest, one at a time", async () => {
    const children = await Promise.all([holding(100), holding(200), holding(150)]);
    const program = new Replaced(...children.map((each, num) => instanceOf(each, { num })));
    const monitor = new MemoryMonitor({ totalLimit: 200 * MIB });
    await monitor.run(program.context);
    await monitor.run(program.context);
    expect(program.nums).toEqual([1]);
    expect(program.reasons[0]).toMatch(
      /^all 3 have \d{3}(\.\d)? MiB \(PSS\) together, more than their limit of 200 MiB, and it is the largest of all with 2\d\d/,
    );
    monitor.remove(program.instances[1]!);
    program.instances = program.instances.filter(({ num }) => num !== 1);
    await monitor.run(program.context);
    expect(program.nums).toEqual([1, 2]);
  });

  it("wait while the largest is young", async () => {
    const children = await Promise.all([holding(50), holding(200)]);
    const ages = [100_000, 500];
    const program = new Replaced(
      ...children.map((each, num) => instanceOf(each, { num, age: ages[num]! })),
    );
    const monitor = new MemoryMonitor({ totalLimit: 200 * MIB });
    await monitor.run(program.context);
    expect(program.replaced).toEqual([]);
  });

  it("include the memory that must be free", async () => {
    const program = new Replaced(instanceOf(await holding(50)));
    await new MemoryMonitor({ minFreeMemory: 1 }).run(program.context);
    expect(program.replaced).toEqual([]);
    const monitor = new MemoryMonitor({ minFreeMemory: freeMemory() * 2 });
    await monitor.run(program.context);
    expect(program.reasons[0]).toMatch(
      /^\d.* MiB of memory are free, less than the \d.* MiB that must be, and it is the largest/,
    );
  });
});

describe("options", () => {
  it("travel as own fields", () => {
    const given = {
      interval: 5,
      limit: 6,
      growth: { samples: 7 },
      totalLimit: 8,
      minFreeMemory: 9,
    };
    const fields: unknown = deserialize(serialize(Object.assign({}, new MemoryMonitor(given))));
    expect(fields).toEqual(given);
    expect(MemoryMonitor).toHaveLength(0);
    const made = Object.assign(new MemoryMonitor(), fields);
    expect(made.status()).toMatchObject({ replaced: 0 });
  });

  it.each([
    [
      { limit: 0 },
      "Expected `limit` to be a whole number from 1 to 9007199254740991 bytes, got 0 (a number)",
    ],
    [
      { interval: 0 },
      "Expected `interval` to be a number of ms from 1 to 2147483647, got 0 (a number)",
    ],
    [
      { growth: { samples: 0 } },
      "Expected `growth.samples` to be a whole number from 1 to 1000000, got 0 (a number)",
    ],
    [{ growth: 5 }, "Expected `growth` to be an object, got 5 (a number)"],
    [
      { max: 1 },
      "Unknown option `max` of a MemoryMonitor. There are: interval, limit, growth, totalLimit, minFreeMemory",
    ],
    [null, "Expected `options` to be an object, got null"],
  ])("%j is refused", (options, message) => {
    expect(() => new MemoryMonitor(options as never)).toThrow(new TypeError(message));
  });
});
