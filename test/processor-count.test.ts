import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { processorCount } from "forkmap";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Spans } from "./fixtures/spans.mjs";
import { opened } from "./opened.js";

afterEach(() => void vi.unstubAllEnvs());

describe("processorCount", () => {
  it("is a whole number, at most what Node sees", () => {
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

  it("heeds the processors it is bound to", (context) => {
    if (spawnSync("taskset", ["-V"]).status !== 0) context.skip();
    const script = `import { processorCount } from "forkmap"; console.log(processorCount())`;
    const node = [process.execPath, "--input-type=module", "-e", script];
    expect(execFileSync("taskset", ["-c", "0", ...node], { encoding: "utf8" }).trim()).toBe("1");
  });

  it("heeds the quota of its cgroup", (context) => {
    const file = "/sys/fs/cgroup/cpu.max";
    if (!existsSync(file)) context.skip();
    const [quota, period] = readFileSync(file, "utf8").split(" ").map(Number);
    if (!quota) context.skip();
    expect(processorCount()).toBeLessThanOrEqual(Math.ceil(quota / period));
  });

  it("is the default concurrency of spawned children", async () => {
    vi.stubEnv("PARALLEL_PROCESSOR_COUNT", "1");
    const spans = await opened(new Spans(), { startMethod: "spawn" }).mapProcesses([50, 50]);
    expect(spans.map((each) => each.num)).toEqual([0, 0]);
    expect(spans[1].from).toBeGreaterThanOrEqual(spans[0].to);
  });
});
