/** Items and results too long for a line or a ledger: they are in files that are reused. */
import { readdirSync, statSync } from "node:fs";
import path from "node:path";
import { describe, expect, it, vi } from "vitest";
import { Bytes, Echo, LateEcho, Long } from "../fixtures/echo.mjs";
import { opened } from "../support/opened.js";
import { seeded } from "../support/seeded.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const KIB = 1024;
const MIB = 1024 * KIB;

const ALPHABETS = ["x", "é", "€", "😀", "\ud800"];

/** Texts of all lengths up to 1 Mi characters, unsorted: a text must not contain the end of a longer predecessor. */
function texts(count: number): string[] {
  const random = seeded(11);
  return Array.from({ length: count }, (_, i) => {
    const length = Math.round(8 * KIB * (random(1000) < 200 ? 35 : 1) * (1 + random(30) / 10));
    // An odd number of code units before them, so that surrogate pairs cross every boundary.
    return `${i} ${"x".repeat(i % 2)}${ALPHABETS[i % ALPHABETS.length]!.repeat(length)}`;
  });
}

describe.each([
  { startMethod: "fork", pool: 2 },
  { startMethod: "spawn", pool: 2 },
  { startMethod: "fork", pool: 1, threads: 2 },
] as const)("long values, %j", (options) => {
  it("are complete, whatever their files contained before", async () => {
    const items = texts(60);
    const parallel = opened(new Echo(), options);
    for (let round = 0; round < 2; round += 1) {
      const found = await parallel.mapProcesses(items);
      // Not toEqual, which would print the difference.
      expect(found.findIndex((text: string, i: number) => text !== items[i])).toBe(-1);
      expect(found).toHaveLength(items.length);
    }
  });

  it("may be more than there are places", async () => {
    const items = texts(40);
    const parallel = opened(new LateEcho(), { ...options, fibers: 20 });
    const found = await parallel.mapProcesses(items, { batch: 30 });
    expect(found.findIndex((text: string, i: number) => text !== items[i])).toBe(-1);
  });

  it("may be bytes, each with memory of its own", async () => {
    const lengths = [3 * MIB, 100 * KIB, MIB, 70 * KIB, MIB + 1, 2 * MIB];
    const found: Uint8Array[] = await opened(new Bytes(), options).mapProcesses(lengths);
    expect(found.map((bytes) => bytes.length)).toEqual(lengths);
    expect(found.map((bytes) => bytes.buffer.byteLength)).toEqual(lengths);
    for (const bytes of found) expect(bytes.every((byte, i) => byte === i % 256)).toBe(true);
    expect(new Set(found.map((bytes) => bytes.constructor.name))).toEqual(new Set(["Uint8Array"]));
  });

  it("leave little disk space in use afterwards", async () => {
    const scratchRoot = temporaryDirectory();
    const parallel = opened(new Echo(), { ...options, scratchRoot });
    const items = ["a", "b", "c", "d", "e", "f"].map((letter) => letter.repeat(8 * MIB));
    const found = await parallel.mapProcesses(items);
    expect(found.findIndex((text: string, i: number) => text !== items[i])).toBe(-1);
    await vi.waitUntil(() => usedBytes(scratchRoot) < 4 * MIB, SOON);
    await parallel.mapProcesses(Array.from({ length: 40 }, () => "y".repeat(20 * KIB)));
    const ofItems = namesIn(scratchRoot).filter((name) => name.startsWith("item-"));
    expect(ofItems.length).toBeGreaterThan(0);
    expect(ofItems.length).toBeLessThanOrEqual(8);
  });

  it("leave no files of a child that has died", async () => {
    const scratchRoot = temporaryDirectory();
    const parallel = opened(new Long(), { ...options, scratchRoot });
    const results = () => namesIn(scratchRoot).filter((name) => name.endsWith(".results"));
    await parallel.mapProcesses([MIB, MIB, MIB, MIB]);
    const before = results();
    expect(before.length).toBeGreaterThan(0);
    for (const { pid } of parallel.stats().slots) if (pid !== undefined) end(pid);
    await vi.waitUntil(() => results().length === 0, SOON);
    expect((await parallel.mapProcesses([MIB]))[0]).toHaveLength(MIB);
    expect(results()).not.toEqual(before);
  });
});

function namesIn(scratchRoot: string): string[] {
  return readdirSync(scratchRoot, { recursive: true, encoding: "utf8" }).map((name) =>
    path.basename(name),
  );
}

/** Returns the bytes of the files, without the ledger. */
function usedBytes(scratchRoot: string): number {
  let bytes = 0;
  for (const file of readdirSync(scratchRoot, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".ledger")) bytes += 512 * statSync(path.join(scratchRoot, file)).blocks;
  }
  return bytes;
}

/** Ends a child; all threads of one process have its pid. */
function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}
