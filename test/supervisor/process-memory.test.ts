/** What /proc says of real processes. */
import { once } from "node:events";
import { appendFileSync, chmodSync, cpSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { memoryOf, rssOf, totalOf } from "../../src/supervisor/process-memory.js";
import { ProcessTable } from "../../src/supervisor/process-table.js";
import { Shares } from "../fixtures/services/shares.mjs";
import { contained, soon } from "../support/contained.js";
import { runScript } from "../support/run-script.js";
import { holding, node } from "../support/supervised.js";
import { temporaryDirectory } from "../support/temporary.js";

const MIB = 2 ** 20;

it("is near what a process has", async () => {
  const { pid } = await holding(100);
  const memory = (await memoryOf(pid))!;
  expect(memory.measure).toBe("PSS");
  expect(memory.size).toBeGreaterThan(100 * MIB);
  expect(memory.size).toBeLessThan(200 * MIB);
  expect(memory.own).toBeGreaterThan(100 * MIB);
  expect(memory.own).toBeLessThanOrEqual(memory.size);
  expect(memory.rss).toBeGreaterThanOrEqual(memory.size);
  expect(rssOf(pid)).toBeGreaterThan(100 * MIB);
});

it("is none of a process that has ended", async () => {
  const child = await node("console.log(1)");
  await once(child, "exit");
  expect(await memoryOf(child.pid)).toBeUndefined();
  expect(rssOf(child.pid)).toBeUndefined();
});

it("is none of a zombie", async () => {
  // The shell becomes a program that does not wait for the child that the shell has started.
  const parent = await node(`
    require("node:child_process").spawn("/bin/sh", ["-c", "sleep 0.2 & echo; exec sleep 300"], { stdio: "inherit" });
    setInterval(() => {}, 1000);`);
  await soon(async () => {
    const [, , zombie] = (await ProcessTable.read()).treeOf(parent.pid);
    expect(readFileSync(`/proc/${zombie!.pid}/stat`, "latin1")).toContain(") Z ");
    expect(await memoryOf(zombie!.pid)).toBeUndefined();
  });
});

it.runIf(process.getuid?.() === 0)("is estimated of another user's process", async () => {
  const { pid } = await holding(100);
  const directory = temporaryDirectory();
  const script = path.join(directory, "script.mjs");
  cpSync(new URL("../../dist/supervisor/process-memory.js", import.meta.url), script);
  appendFileSync(script, `console.log(JSON.stringify(await memoryOf(${pid})));`);
  chmodSync(directory, 0o755);
  const NOBODY = 65_534;
  const { stdout, stderr } = await runScript(script, { uid: NOBODY, gid: NOBODY, cwd: "/" });
  expect(stderr).toBe("");
  const memory = JSON.parse(stdout);
  expect(memory).toEqual({ size: memory.rss, measure: "RSS", rss: expect.any(Number) });
  expect(memory.rss).toBeGreaterThan(100 * MIB);
  expect(totalOf([memory, { ...memory, measure: "PSS" }])).toEqual({
    size: 2 * memory.rss,
    measure: "RSS",
  });
});

it("counts what 8 forked instances share once", async () => {
  const { container } = contained();
  container.run(new Shares(300), { count: 8, name: "web" });
  await container.waitUntilReady();
  const memories = await Promise.all(container.instances.map(({ pid }) => memoryOf(pid!)));
  const total = totalOf(memories.map((each) => each!));
  expect(total.measure).toBe("PSS");
  // The fork server has its ninth part of what they share.
  expect(total.size).toBeGreaterThan((300 * 8 * MIB) / 9);
  expect(total.size).toBeLessThan(600 * MIB);
  for (const each of memories) {
    expect(each!.size).toBeGreaterThan(30 * MIB);
    expect(each!.size).toBeLessThan(75 * MIB);
    expect(each!.rss).toBeGreaterThan(300 * MIB);
  }
});
