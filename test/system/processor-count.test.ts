import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { processorCount } from "forkmap";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
// Not exported by the package.
import { cgroupQuota } from "../../src/system/processor-count.js";
import { Spans } from "../fixtures/spans.mjs";
import { opened } from "../support/opened.js";
import { temporaryDirectory } from "../support/temporary.js";

afterEach(() => void vi.unstubAllEnvs());

/** Creates a cgroup with half a processor, of the version that the system has. */
function makeCgroup(): string | undefined {
  const name = `forkmap-test-${process.pid}`;
  for (const [mount, file, quota] of [
    ["/sys/fs/cgroup", "cpu.max", "50000 100000"],
    ["/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "50000"],
  ] as const) {
    const directory = path.join(mount, name);
    try {
      mkdirSync(directory);
    } catch {
      continue;
    }
    onTestFinished(() => rmdirSync(directory));
    try {
      writeFileSync(path.join(directory, file), quota, { flag: "r+" });
      return directory;
    } catch {
      // The controller is mounted elsewhere, or not delegated to this cgroup.
    }
  }
  return undefined;
}

/** Creates a root directory with these files. */
function rootWith(files: Record<string, string>): string {
  const root = temporaryDirectory();
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, `${content}\n`);
  }
  return root;
}

describe("cgroupQuota", () => {
  const V2 = { "proc/self/cgroup": "0::/app.slice/one.service" };

  it("is Infinity if no cgroup has one", () => {
    expect(cgroupQuota(rootWith({}))).toBe(Infinity);
    const cpu = { "sys/fs/cgroup/app.slice/one.service/cpu.max": "max 100000" };
    expect(cgroupQuota(rootWith({ ...V2, ...cpu }))).toBe(Infinity);
  });

  it.each(["", "app.slice/", "app.slice/one.service/"])("is found at /%s in version 2", (own) => {
    const cpu = { [`sys/fs/cgroup/${own}cpu.max`]: "150000 100000" };
    expect(cgroupQuota(rootWith({ ...V2, ...cpu }))).toBe(1.5);
  });

  it("is the smallest of the cgroup and those above it", () => {
    const cpu = {
      "sys/fs/cgroup/app.slice/cpu.max": "50000 100000",
      "sys/fs/cgroup/app.slice/one.service/cpu.max": "300000 100000",
    };
    expect(cgroupQuota(rootWith({ ...V2, ...cpu }))).toBe(0.5);
  });

  it("is found in version 1, where -1 means none", () => {
    const cpu = {
      "proc/self/cgroup": "4:cpu,cpuacct:/a/b\n0::/",
      "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "-1",
      "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000",
      "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "250000",
      "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
    };
    expect(cgroupQuota(rootWith(cpu))).toBe(2.5);
  });

  it("is that of the mount if the path is the host's", () => {
    const cpu = { "proc/self/cgroup": "0::/docker/1", "sys/fs/cgroup/cpu.max": "200000 100000" };
    expect(cgroupQuota(rootWith(cpu))).toBe(2);
  });
});

describe("processorCount", () => {
  it("is a whole number, at most Node's value", () => {
    expect(Number.isInteger(processorCount())).toBe(true);
    expect(processorCount()).toBeGreaterThanOrEqual(1);
    expect(processorCount()).toBeLessThanOrEqual(availableParallelism());
  });

  it("is overridden by PARALLEL_PROCESSOR_COUNT", () => {
    vi.stubEnv("PARALLEL_PROCESSOR_COUNT", "37");
    expect(processorCount()).toBe(37);
    vi.stubEnv("PARALLEL_PROCESSOR_COUNT", "");
    expect(processorCount()).toBeLessThanOrEqual(availableParallelism());
  });

  it.each(["0", "-1", "1.5", "many", " 2", "1e3"])(
    "refuses PARALLEL_PROCESSOR_COUNT=%s",
    (value) => {
      vi.stubEnv("PARALLEL_PROCESSOR_COUNT", value);
      expect(processorCount).toThrow(TypeError);
      expect(processorCount).toThrow(
        `PARALLEL_PROCESSOR_COUNT to be a whole number of at least 1, got "${value}"`,
      );
    },
  );

  it("respects the CPU affinity of the process", (context) => {
    if (spawnSync("taskset", ["-V"]).status !== 0) context.skip();
    const script = `import { processorCount } from "forkmap"; console.log(processorCount())`;
    const node = [process.execPath, "--input-type=module", "-e", script];
    expect(execFileSync("taskset", ["-c", "0", ...node], { encoding: "utf8" }).trim()).toBe("1");
  });

  it("respects the quota of a cgroup that the process is moved to (needs root to create one)", (context) => {
    const cgroup = makeCgroup();
    if (!cgroup) return context.skip();
    const script = `import { processorCount } from "forkmap"; console.log(processorCount())`;
    const join = `echo $$ > "$0"/cgroup.procs && exec "$@"`;
    const node = [process.execPath, "--input-type=module", "-e", script];
    expect(execFileSync("sh", ["-c", join, cgroup, ...node], { encoding: "utf8" }).trim()).toBe(
      "1",
    );
  });

  it("is the default concurrency of spawned children", async () => {
    vi.stubEnv("PARALLEL_PROCESSOR_COUNT", "1");
    const spans = await opened(new Spans(), { startMethod: "spawn" }).mapProcesses([50, 50]);
    expect(spans.map((each) => each.num)).toEqual([0, 0]);
    expect(spans[1].from).toBeGreaterThanOrEqual(spans[0].to);
  });
});
