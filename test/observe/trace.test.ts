import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { LaunchError } from "../../src/errors.js";
// Not exported by the package.
import { Trace, type TracedItem } from "../../src/observe/trace.js";
import { temporaryDirectory } from "../support/temporary.js";
import { readTrace, rowsOf } from "../support/trace-events.js";

/** A time on CLOCK_MONOTONIC, in ms, as on a machine that has been up for two weeks. */
const T = 1_209_600_123.456_789;

function item(index: number, num: number, start: number, end: number): TracedItem {
  const rest = { attempt: 1, pid: 1000 + num, generation: 1, outcome: "ok" };
  return { index, num, start: T + start, end: T + end, ...rest };
}

function newTrace(worker = "Probe"): { trace: Trace; file: string } {
  const file = path.join(temporaryDirectory(), "run.json");
  return { trace: Trace.create(file, { worker, startedAt: T }), file };
}

describe("Trace", () => {
  it("has a row per num, in order, with a slice per attempt", async () => {
    const { trace, file } = newTrace();
    trace.item(item(1, 1, 0, 12.5));
    trace.item(item(0, 0, 0.25, 20));
    trace.item({ ...item(2, 1, 13, 14), outcome: "error", message: 'no "such"\nhost' });
    trace.item({ ...item(2, 10, 15, 16), attempt: 2, generation: 3 });
    await trace.close();
    const rows = rowsOf(readTrace(file));
    expect(rows.map(({ name, slices }) => [name, slices.map((each) => each.name)])).toEqual([
      ["Probe: num 0", ["item 0"]],
      ["Probe: num 1", ["item 1", "item 2 error"]],
      ["Probe: num 10", ["item 2"]],
    ]);
    expect(rows[0].slices[0]).toMatchObject({
      ts: 250,
      dur: 19_750,
      args: { index: 0, attempt: 1, pid: 1000, generation: 1, outcome: "ok" },
    });
    expect(rows[1].slices[1]).toMatchObject({
      ts: 13_000,
      dur: 1000,
      args: { outcome: "error", message: 'no "such"\nhost' },
    });
    expect(rows[2].slices[0].args).toMatchObject({ attempt: 2, generation: 3 });
  });

  it("shows the life of each child below, and how it ended", async () => {
    const { trace, file } = newTrace('Ängström\n"quoted"');
    const child = { num: 0, generation: 1, pid: 41 };
    trace.child({ ...child, start: T - 500, end: T + 3, how: "SIGKILL" });
    trace.child({
      ...child,
      generation: 2,
      pid: undefined,
      start: T + 3,
      end: T + 9,
      how: "code 0",
    });
    trace.item(item(0, 0, 1, 2));
    await trace.close();
    const rows = rowsOf(readTrace(file));
    expect(rows.map(({ name }) => name)).toEqual([
      'Ängström\n"quoted": num 0',
      'Ängström\n"quoted": children: num 0',
    ]);
    expect(rows[1].slices).toMatchObject([
      { name: "pid 41", ts: 0, dur: 3000, args: { pid: 41, generation: 1, end: "SIGKILL" } },
      { name: "child 2", ts: 3000.001, dur: 5999.999, args: { generation: 2, end: "code 0" } },
    ]);
  });

  it("gives concurrent items of one num rows of their own, no more than needed", async () => {
    const { trace, file } = newTrace();
    const AT_ONCE = 5;
    const free = Array.from({ length: AT_ONCE }, () => 0);
    const items = Array.from({ length: 500 }, (_, index) => {
      const fiber = free.indexOf(Math.min(...free));
      const start = free[fiber];
      free[fiber] = start + 0.01 + Math.random() * (index % 50 === 0 ? 100 : 5);
      return item(index, 3, start, free[fiber]);
    });
    // Items are reported when they end.
    for (const each of items.toSorted((a, b) => a.end - b.end)) trace.item(each);
    await trace.close();
    const rows = rowsOf(readTrace(file));
    expect(rows.map(({ name }) => name)).toEqual(
      ["", " (2)", " (3)", " (4)", " (5)"].map((nth) => `Probe: num 3${nth}`),
    );
    expect(rows.flatMap(({ slices }) => slices)).toHaveLength(500);
  });

  it("keeps one row for items that overlap only by clock inaccuracy", async () => {
    const { trace, file } = newTrace();
    for (let i = 0; i < 100; i += 1) trace.item(item(i, 0, i - 0.004, i + 1.004));
    await trace.close();
    expect(rowsOf(readTrace(file))).toHaveLength(1);
  });

  it("counts the items in flight, at a limited rate", async () => {
    const { trace, file } = newTrace();
    for (let i = 0; i < 10_000; i += 1) trace.inFlight(i % 3, T + i / 1000);
    trace.inFlight(0, T + 10);
    await trace.close();
    const counts = readTrace(file).filter(({ ph }) => ph === "C");
    expect(counts.length).toBeGreaterThanOrEqual(5);
    expect(counts.length).toBeLessThanOrEqual(12);
    expect(counts.at(-1)).toMatchObject({ name: "in flight", ts: 10_000, args: { items: 0 } });
  });

  it("truncates a long message and replaces invalid characters", async () => {
    const { trace, file } = newTrace();
    const message = `\u0000\u001b[31m\ud800${"long ".repeat(10_000)}`;
    trace.item({ ...item(0, 0, 0, 1), outcome: "dead", message });
    await trace.close();
    expect(statSync(file).size).toBeLessThan(3000);
    const written = String(readTrace(file).at(-1)?.args["message"]);
    expect(written.startsWith("\u0000\u001b[31m\ufffdlong ")).toBe(true);
    expect(written.endsWith("lon...")).toBe(true);
  });

  it("is an array without item events if there were no items", async () => {
    const { trace, file } = newTrace();
    await trace.close();
    await trace.close();
    expect(rowsOf(readTrace(file))).toEqual([]);
  });

  it("replaces an existing file and writes continuously, in bounded memory", async () => {
    const { trace, file } = newTrace();
    const again = Trace.create(file, { worker: "Probe", startedAt: T });
    await trace.close();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 300_000; i += 1) again.item(item(i, i % 4, i / 10, i / 10 + 0.4));
    expect(statSync(file).size).toBeGreaterThan(30_000_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
    await again.close();
    expect(readFileSync(file, "utf8").endsWith("}\n]\n")).toBe(true);
  });

  it("is readable after its program was killed", async () => {
    const file = path.join(temporaryDirectory(), "run.json");
    const code = `
      import { Trace } from ${JSON.stringify(new URL("../../dist/observe/trace.js", import.meta.url).href)};
      const trace = Trace.create(${JSON.stringify(file)}, { worker: "Probe", startedAt: 0 });
      const item = { num: 0, attempt: 1, pid: 1, generation: 1, outcome: "ok" };
      for (let index = 0; index < 1000; index += 1) {
        trace.item({ ...item, index, start: index, end: index + 1 });
      }
      process.kill(process.pid, "SIGKILL");`;
    const [, signal] = await once(
      spawn(process.execPath, ["--input-type=module", "-e", code]),
      "exit",
    );
    expect(signal).toBe("SIGKILL");
    const [row] = rowsOf(readTrace(file, { cut: true }));
    expect(row.slices.length).toBeGreaterThan(400);
  });

  it("refuses a file that cannot be written, naming the option", () => {
    const directory = temporaryDirectory();
    const create = (file: string) => () => Trace.create(file, { worker: "Probe", startedAt: T });
    for (const file of [directory, path.join(directory, "none/run.json"), "/dev/full"]) {
      expect(create(file)).toThrow("The file of the option `trace` cannot be written: E");
    }
    writeFileSync(path.join(directory, "file"), "");
    expect(create(path.join(directory, "file/run.json"))).toThrow("ENOTDIR");
    mkdirSync(path.join(directory, "run.json"));
    expect(create(path.join(directory, "run.json"))).toThrow(LaunchError);
  });

  it("warns at the end if part of it could not be written, and fails no call", async (context) => {
    const file = path.join(temporaryDirectory(), "pipe");
    if (spawnSync("mkfifo", [file]).status !== 0) context.skip();
    const warning = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    onTestFinished(() => warning.mockRestore());
    const reader = spawn("head", ["-c", "10", file]);
    const trace = Trace.create(file, { worker: "Probe", startedAt: T });
    await once(reader, "exit");
    for (let i = 0; i < 2000; i += 1) trace.item(item(i, 0, i, i + 1));
    await trace.close();
    expect(warning).toHaveBeenCalledExactlyOnceWith(
      expect.stringMatching(/^The trace .*pipe is not complete: EPIPE/),
      "ForkmapWarning",
    );
  });
});
