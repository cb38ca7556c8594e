/** What a program keeps is named by function, file, package and class; what it does not keep is only allocated. */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { CHILDREN, diagnosed, FORKED } from "../../support/diagnosed.js";
import { temporaryDirectory } from "../../support/temporary.js";

const FILE = fileURLToPath(new URL("../../fixtures/diagnosed-program/ways.mjs", import.meta.url));
/** Of an object with an array of 50 numbers that are no integers. */
const ENTRY_BYTES = { min: 350, max: 800 };
/** `growCache` makes 200 such objects for each 100 sessions. */
const ENTRIES_PER_SESSION = 2;

describe.each(CHILDREN)("in %s", (_, options) => {
  test("a sample names what is kept, and what is only allocated", async () => {
    const args = { duration: 1000 };
    const [{ value }] = await diagnosed(options, {
      operation: "memory_sample",
      args,
      does: "leaks",
    });

    expect(value).toMatchObject({ mode: "sampling", duration: 1000 });
    const { allocated, retained } = value;
    expect(retained.packages.top[0].name).toBe("diagnosed-program");
    expect(retained.files.top[0].name).toBe(FILE);
    expect(retained.locations.top[0]).toMatchObject({ function: "growCache", file: FILE });
    expect(retained.locations.top[0].name).toMatch(/^growCache \(.*ways\.mjs:\d+\)$/);
    expect(retained.bytes).toBeGreaterThanOrEqual(bytesOf(retained, "growCache"));

    const sessions = named(retained.classes, "Session").count;
    expect(sessions).toBeGreaterThan(0);
    const entries = sessions * ENTRIES_PER_SESSION;
    expect(bytesOf(retained, "growCache")).toBeGreaterThan(entries * ENTRY_BYTES.min * 0.7);
    expect(bytesOf(retained, "growCache")).toBeLessThan(entries * ENTRY_BYTES.max * 1.3);

    expect(bytesOf(allocated, "makeGarbage")).toBeGreaterThan(
      bytesOf(allocated, "growCache") * 0.5,
    );
    expect(bytesOf(retained, "makeGarbage")).toBeLessThan(bytesOf(retained, "growCache") * 0.1);
  });

  test("an exact report has numbers of objects and sizes of classes, too", async () => {
    const args = { duration: 300, mode: "exact" };
    const [{ value }] = await diagnosed(options, {
      operation: "memory_sample",
      args,
      does: "leaks",
    });

    expect(value.mode).toBe("exact");
    const { allocated, retained } = value;
    expect(retained.packages.top[0].name).toBe("diagnosed-program");
    expect(retained.files.top[0].name).toBe(FILE);
    expect(retained.locations.top[0]).toMatchObject({ function: "growCache", file: FILE });
    const { count, bytes } = named(retained.classes, "Session");
    expect(count).toBeGreaterThan(0);
    expect(count % 100).toBe(0);
    expect(bytes / count).toBeGreaterThanOrEqual(16);
    expect(bytes / count).toBeLessThan(100);
    const entries = count * ENTRIES_PER_SESSION;
    expect(bytesOf(retained, "growCache")).toBeGreaterThan(entries * ENTRY_BYTES.min);
    expect(bytesOf(retained, "growCache")).toBeLessThan(entries * ENTRY_BYTES.max);

    expect(bytesOf(allocated, "makeGarbage")).toBeGreaterThan(entries * ENTRY_BYTES.min);
    // The last one is still there.
    expect(bytesOf(retained, "makeGarbage")).toBeLessThan(entries * ENTRY_BYTES.min * 0.2);
    expect(allocated.bytes).toBeGreaterThan(retained.bytes);
    // To take the snapshot allocates more than this program.
    expect(JSON.stringify(allocated)).not.toContain("writeSnapshot");
  });
});

test.each(["sampling", "exact"])("a package is named after its folder: %s", async (mode) => {
  const module = packageIn(temporaryDirectory(), "@scope/keeps-all");
  const [{ value }] = await diagnosed(FORKED, {
    operation: "memory_sample",
    args: { duration: 400, mode, classes: false },
    does: "inPackage",
    detail: pathToFileURL(module).href,
  });
  expect(value.retained.packages.top[0].name).toBe("@scope/keeps-all");
  expect(value.retained.locations.top[0]).toMatchObject({ function: "remember", file: module });
  expect("classes" in value.retained).toBe(mode === "exact");
});

test("the memory of a buffer counts, which is not on the heap", async () => {
  const args = { duration: 200, mode: "exact" };
  const [{ value }] = await diagnosed(FORKED, {
    operation: "memory_sample",
    args,
    does: "buffers",
  });
  const { bytes, count } = named(value.retained.classes, "ArrayBuffer");
  expect(count).toBeGreaterThan(0);
  // A few are others'.
  expect(bytes).toBeGreaterThan(count * 90_000);
  expect(bytesOf(value.retained, "buffers")).toBeGreaterThan(count * 90_000);
});

test("parts have `top` lines and the sum of the others", async () => {
  const [{ value: all }, { value: one }] = await diagnosed(
    FORKED,
    { operation: "memory_sample", args: { duration: 200, mode: "exact" }, does: "leaks" },
    { operation: "memory_sample", args: { duration: 200, mode: "exact", top: 1 }, does: "leaks" },
  );
  expect(all.retained.packages.omitted).toEqual({ lines: 0 });
  const bytes = all.retained.locations.top.map((line: { bytes: number }) => line.bytes);
  expect(bytes).toEqual(bytes.toSorted((a: number, b: number) => b - a));
  for (const part of ["packages", "files", "locations", "classes"]) {
    const { top, omitted } = one.retained[part];
    expect(top).toHaveLength(1);
    expect(omitted.lines).toBeGreaterThan(0);
    expect(top[0].bytes + omitted.bytes).toBe(one.retained.bytes);
  }
});

test.each(["sampling", "exact"])("an abort ends it, and the next one runs: %s", async (mode) => {
  const [aborted, next] = await diagnosed(
    FORKED,
    {
      operation: "memory_sample",
      args: { duration: 3_600_000, mode },
      abortAfter: { ms: 100 },
    },
    { operation: "memory_sample", args: { duration: 20 } },
  );
  expect(aborted).toEqual({ name: "Error", error: "nobody waits" });
  expect(next.value.mode).toBe("sampling");
});

interface Line {
  readonly name: string;
  readonly function?: string;
  readonly bytes: number;
  readonly count: number;
}

function named({ top }: { top: Line[] }, name: string): Line {
  const line = top.find((each) => each.name === name);
  expect(line, name).toBeDefined();
  return line!;
}

function bytesOf({ locations }: { locations: { top: Line[] } }, name: string): number {
  return locations.top
    .filter((line) => line.function === name)
    .reduce((sum, { bytes }) => sum + bytes, 0);
}

function packageIn(directory: string, name: string): string {
  const folder = path.join(directory, "node_modules", name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name, type: "module" }));
  const file = path.join(folder, "index.js");
  writeFileSync(
    file,
    `const all = [];
export function remember() {
  for (let i = 0; i < 500; i += 1) all.push({ numbers: new Array(20).fill(i + 0.5) });
}
`,
  );
  return file;
}
