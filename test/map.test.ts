import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it, vi } from "vitest";
import { ChangesState } from "./fixtures/changes-state.mjs";
import { Descriptors } from "./fixtures/descriptors.mjs";
import { Echo, LateEcho } from "./fixtures/echo.mjs";
import { Gate } from "./fixtures/gate.mjs";
import { Pid } from "./fixtures/pid.mjs";
import { Spans } from "./fixtures/spans.mjs";
import { children, scratchDirectories } from "./support/leftovers.js";
import { opened } from "./support/opened.js";
import { SOON } from "./support/soon.js";
import { temporaryDirectory } from "./support/temporary.js";

describe.each(["fork", "spawn"] as const)("mapProcesses by %s", (startMethod) => {
  it("returns results in the order of the items, from distinct processes", async () => {
    const results = await opened(new Pid(), { startMethod }).mapProcesses(["a", "b", "c", "d"]);
    expect(results.map((each) => each.split(":")[0])).toEqual(["a", "b", "c", "d"]);
    const pids = new Set(results.map((each) => each.split(":")[1]));
    expect(pids.size).toBe(4);
    expect(pids).not.toContain(String(process.pid));
  });

  it("keeps the order when later items finish first", async () => {
    const parallel = opened(new Spans(), { startMethod, concurrency: 3 });
    const [first, second, third] = await parallel.mapProcesses([400, 200, 1]);
    expect(first.to - first.from).toBeGreaterThanOrEqual(399);
    expect(second.num).toBe(1);
    expect(third.num).toBe(2);
  });

  it("uses the requested start method", async () => {
    const parallel = opened(new Pid(), { startMethod });
    await parallel.mapProcesses(["a"]);
    expect(parallel.stats()).toMatchObject({
      startMethod,
      reason: undefined,
      calls: 0,
      items: { succeeded: 1, failed: 0 },
    });
  });

  it("isolates a child's changes from the parent and from the next item", async () => {
    const cwd = process.cwd();
    const found = await opened(new ChangesState(), { startMethod, concurrency: 1 }).mapProcesses([
      "a",
      "b",
      "c",
    ]);
    for (const each of found) expect(each).toEqual({ count: 0, variable: null, cwd });
    expect(process.env["FORKMAP_STATE"]).toBeUndefined();
    expect(process.cwd()).toBe(cwd);
  });

  it("starts nothing and creates no directory for an empty input", async () => {
    const scratchRoot = path.join(temporaryDirectory(), "missing");
    const parallel = opened(new Pid(), { startMethod, scratchRoot });
    expect(await parallel.mapProcesses([])).toEqual([]);
    expect(await parallel.eachProcess([])).toBe(0);
    expect(await parallel.mapSettled([])).toEqual([]);
    expect(existsSync(scratchRoot)).toBe(false);
    expect(children()).toEqual([]);
    expect(parallel.stats().pids).toEqual([]);
  });

  it("shares no child's descriptors with another child", async () => {
    const inherited = descriptors(process.pid);
    const parallel = opened(new Descriptors(), { startMethod, concurrency: 4 });
    const call = parallel.mapProcesses([1, 2, 3, 4], {
      onFinish: () => (parents = descriptors(process.pid)),
    });
    let parents: string[] = [];
    const lists = await call;
    // All children have the fork server's earlier descriptors, and the fork server has none of the children's.
    const shared = startMethod === "fork" ? descriptors(parallel.stats().pids[0]) : [];
    const own = lists.map((list) =>
      [...new Set(list)].filter((each) => ![...inherited, ...shared].includes(each)),
    );
    const kernelObjects = own.flat().filter((each) => /^(socket|pipe):/.test(each));
    expect(new Set(kernelObjects).size).toBe(kernelObjects.length);
    expect(kernelObjects.filter((each) => parents.includes(each))).toEqual([]);
    expect(own.flat().filter((each) => each.includes("pidfd"))).toEqual([]);
  });

  it("reaps finished children while others still run", async () => {
    const directory = temporaryDirectory();
    const gate = { begun: `${directory}/begun`, go: `${directory}/go` };
    const done: number[] = [];
    const parallel = opened(new Gate(), { startMethod, concurrency: 3 });
    const open = { begun: `${directory}/other`, go: "/" };
    const call = parallel.mapProcesses([gate, open, open, open], {
      onFinish: (_, index) => done.push(index),
    });
    await vi.waitUntil(() => done.length === 3 && existsSync(gate.begun), SOON);
    const left = children(parallel.stats().pids).filter(
      (each) => each.command.startsWith("forkmap ") || each.state === "Z",
    );
    const own = Number(readFileSync(gate.begun, "utf8"));
    expect(left.filter((each) => each.pid !== own)).toEqual([]);
    expect(left.filter((each) => each.state === "Z")).toEqual([]);
    writeFileSync(gate.go, "");
    await call;
  });

  it("leaves no child and no directory when it ends, even if the Parallel stays open", async () => {
    const parallel = opened(new LateEcho(), { startMethod });
    await parallel.mapProcesses(["a", "b"]);
    expect(children(parallel.stats().pids)).toEqual([]);
    expect(parallel.stats().pids.length).toBe(1);
    expect(scratchDirectories()).toEqual([]);
  });

  it("runs several calls at the same time, each with its own results", async () => {
    const parallel = opened(new Echo(), { startMethod, concurrency: 2 });
    const inputs = [["a", "b"], ["c"], ["d", "e", "f"]];
    expect(await Promise.all(inputs.map((items) => parallel.mapProcesses(items)))).toEqual(inputs);
  });

  it("shows class, slot and item in the list of processes", async () => {
    const directory = temporaryDirectory();
    const gate = { begun: `${directory}/begun`, go: `${directory}/go` };
    const call = opened(new Gate(), { startMethod }).mapProcesses([gate]);
    await vi.waitUntil(() => existsSync(gate.begun), SOON);
    const pid = Number(readFileSync(gate.begun, "utf8"));
    expect(readFileSync(`/proc/${pid}/cmdline`, "latin1")).toMatch(/^forkmap Gate num 0 item 0/);
    writeFileSync(gate.go, "");
    expect(await call).toEqual(["went"]);
  });
});

/** Returns the descriptors of a process beyond the standard three. */
function descriptors(pid: number | undefined): string[] {
  return readdirSync(`/proc/${pid}/fd`)
    .filter((fd) => Number(fd) > 2)
    .flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return [];
      }
    });
}
