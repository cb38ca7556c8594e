/** The processor time of real processes and of what they start. */
import { once } from "node:events";
import { expect, it } from "vitest";
import { CpuTotals } from "../../src/supervisor/cpu-totals.js";
import { factsOf, ProcessTable } from "../../src/supervisor/process-table.js";
import { soon } from "../support/contained.js";
import { holding, instanceOf, node } from "../support/supervised.js";

const SPIN =
  "const until = process.cpuUsage().user + 300_000; while (process.cpuUsage().user < until);";
const FAMILY = `
  const { spawn } = require("node:child_process");
  const child = spawn(process.execPath, ["-e", ${JSON.stringify(`${SPIN} console.log(1); setInterval(() => {}, 1000)`)}]);
  child.stdout.once("data", () => console.log(child.pid));
  process.stdin.once("data", () => child.kill("SIGKILL"));
  child.once("exit", () => setInterval(() => {}, 1000));
  setInterval(() => {}, 1000);`;

it("a table knows this process, its children and theirs", async () => {
  const family = await node(FAMILY);
  const table = await ProcessTable.read();
  expect(table.get(process.pid)!.parent).toBe(process.ppid);
  const tree = table.treeOf(family.pid);
  expect(tree).toHaveLength(2);
  expect(tree[1]!.parent).toBe(family.pid);
  expect(table.treeOf(process.pid).map(({ pid }) => pid)).toContain(tree[1]!.pid);
  expect(table.treeOf(process.pid, new Set([family.pid])).map(({ pid }) => pid)).not.toContain(
    tree[1]!.pid,
  );
  expect(factsOf(process.pid)!.cpuSeconds).toBeGreaterThan(0);
});

it("counts descendants, also when they have ended", async () => {
  const family = await node(FAMILY);
  const totals = new CpuTotals();
  const instance = instanceOf(family);
  const before = (await totals.look([instance], process.pid)).get(instance)!;
  expect(before.pids).toHaveLength(2);
  expect(before.cpuSeconds).toBeGreaterThan(0.25);
  family.stdin!.write("end it");
  const after = await soon(async () => {
    const usage = (await totals.look([instance], process.pid)).get(instance)!;
    expect(usage.pids).toHaveLength(1);
    return usage;
  });
  expect(after.cpuSeconds).toBeGreaterThanOrEqual(before.cpuSeconds);
  expect(after.childCpuSeconds).toBeGreaterThan(0.25);
});

it("never goes back when a child takes the place of another, or a supervisor", async () => {
  let totals = new CpuTotals();
  let last = 0;
  for (let generation = 1; generation <= 4; generation += 1) {
    const child = await node(`${SPIN} console.log(1); setInterval(() => {}, 1000)`);
    const instance = instanceOf(child, { generation });
    const usage = (await totals.look([instance], process.pid)).get(instance)!;
    expect(usage.cpuSeconds).toBeGreaterThan(last + 0.25);
    last = usage.cpuSeconds;
    child.kill("SIGKILL");
    await once(child, "exit");
    expect((await totals.look([instance], process.pid)).size).toBe(0);
    if (generation === 2) totals = new CpuTotals(JSON.parse(JSON.stringify(totals.save())));
  }
});

it("does not take another process with the same pid for the child", async () => {
  const child = await holding(1);
  const instance = instanceOf(child);
  const totals = new CpuTotals();
  await totals.look([instance], process.pid);
  child.kill("SIGKILL");
  await once(child, "exit");
  const other = await holding(1);
  Object.assign(instance, { pid: other.pid });
  expect((await totals.look([instance], process.pid)).size).toBe(0);
});

it("of an instance in a thread of the program is the program's own", async () => {
  const family = await node(FAMILY);
  const instance = instanceOf(family);
  const usage = (await new CpuTotals().look([instance], family.pid)).get(instance)!;
  expect(usage.pids).toEqual([family.pid]);
});
