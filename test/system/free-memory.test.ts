import { mkdirSync, writeFileSync } from "node:fs";
import { totalmem } from "node:os";
import path from "node:path";
import { describe, expect, it } from "vitest";
// Not exported by the package.
import { freeMemory } from "../../src/system/free-memory.js";
import { temporaryDirectory } from "../support/temporary.js";

const MIB = 1024 * 1024;

/** Creates a root directory with these files. */
function rootWith(files: Record<string, string | number>): string {
  const root = temporaryDirectory();
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, `${content}\n`);
  }
  return root;
}

const MEMINFO = `MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:    1024000 kB`;
const SYSTEM = { "proc/meminfo": MEMINFO };

describe("freeMemory", () => {
  it("is a part of this machine's memory", () => {
    expect(freeMemory()).toBeGreaterThan(0);
    expect(freeMemory()).toBeLessThan(totalmem());
  });

  it("is the system's available memory if no cgroup has a lower limit", () => {
    expect(freeMemory(rootWith(SYSTEM))).toBe(1000 * MIB);
    const unlimited = { "memory.max": "max", "memory.high": "max", "memory.current": 5 * MIB };
    expect(freeMemory(rootWith({ ...SYSTEM, ...own("0::/", "", unlimited) }))).toBe(1000 * MIB);
  });

  it("is Node's value without /proc", () => {
    const free = freeMemory(temporaryDirectory());
    expect(free).toBeGreaterThan(0);
    expect(free).toBeLessThan(totalmem());
  });

  it("respects a cgroup of version 2, and counts inactive file cache as free", () => {
    const files = {
      "memory.max": 200 * MIB,
      "memory.current": 150 * MIB,
      "memory.stat": `anon 1\ninactive_file ${30 * MIB}\nactive_file ${20 * MIB}`,
    };
    const root = rootWith({ ...SYSTEM, ...own("0::/app", "app", files) });
    expect(freeMemory(root)).toBe(80 * MIB);
  });

  it("respects memory.high", () => {
    const files = {
      "memory.max": 200 * MIB,
      "memory.high": 100 * MIB,
      "memory.current": 40 * MIB,
    };
    expect(freeMemory(rootWith({ ...SYSTEM, ...own("0::/app", "app", files) }))).toBe(60 * MIB);
  });

  it("respects every cgroup above its own", () => {
    const full = { "memory.max": 900 * MIB, "memory.current": 890 * MIB };
    const roomy = { "memory.max": 500 * MIB, "memory.current": 10 * MIB };
    const root = rootWith({
      ...SYSTEM,
      ...own("0::/slice/service/scope", "slice/service/scope", roomy),
      ...own("0::/slice/service/scope", "slice", full),
    });
    expect(freeMemory(root)).toBe(10 * MIB);
  });

  it("is never below zero", () => {
    const files = { "memory.max": 100 * MIB, "memory.current": 101 * MIB };
    expect(freeMemory(rootWith({ ...SYSTEM, ...own("0::/app", "app", files) }))).toBe(0);
  });

  it("respects a cgroup of version 1", () => {
    const lines = "3:cpu,cpuacct:/other\n2:memory:/docker/ab\n0::/elsewhere";
    const files = {
      "memory.limit_in_bytes": 300 * MIB,
      "memory.usage_in_bytes": 100 * MIB,
      "memory.stat": `inactive_file 1\ntotal_inactive_file ${50 * MIB}`,
    };
    expect(freeMemory(rootWith({ ...SYSTEM, ...own(lines, "memory/docker/ab", files) }))).toBe(
      250 * MIB,
    );
    const unlimited = {
      "memory.limit_in_bytes": "9223372036854771712",
      "memory.usage_in_bytes": 1,
    };
    expect(freeMemory(rootWith({ ...SYSTEM, ...own(lines, "memory/docker/ab", unlimited) }))).toBe(
      1000 * MIB,
    );
  });

  it("finds the cgroup of a container that sees the host's path", () => {
    const files = { "memory.max": 300 * MIB, "memory.current": 100 * MIB };
    for (const line of ["0::/kubepods/pod1/c1", "0::/../pod2/c2"]) {
      expect(freeMemory(rootWith({ ...SYSTEM, ...own(line, "", files) }))).toBe(200 * MIB);
    }
  });
});

function own(
  lines: string,
  name: string,
  files: Record<string, string | number>,
): Record<string, string | number> {
  return {
    "proc/self/cgroup": lines,
    ...Object.fromEntries(
      Object.entries(files).map(([file, content]) => [
        path.join("sys/fs/cgroup", name, file),
        content,
      ]),
    ),
  };
}
