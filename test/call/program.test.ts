import { describe, expect, it, vi } from "vitest";
import { descendants } from "../support/leftovers.js";
import { program } from "../support/program.js";
import { SOON } from "../support/soon.js";

describe.each(["fork", "spawn"] as const)("a program with children by %s", (startMethod) => {
  it("ends by itself if its Parallel was never closed", async () => {
    const end = await program("unclosed.mjs", [startMethod]).ended;
    expect(end).toMatchObject({ code: 0, stdout: "[ 'a', 'b' ]\n", stderr: "" });
    await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
  });

  it("stays alive while a child of its pool is replaced", async () => {
    const end = await program("replaces.mjs", [startMethod]).ended;
    expect(end).toMatchObject({ code: 0, stdout: "a,b,c,d,e\na,b,c,d,e,f\nclosed\n" });
  });

  it("may contain the class of its worker, and runs its own top level once", async () => {
    const started = program("one-file.mjs", [startMethod]);
    const { code, stdout } = await started.ended;
    expect(code).toBe(0);
    const lines = stdout.trim().split("\n");
    expect(lines.filter((each) => each === "made")).toHaveLength(1);
    expect(lines.filter((each) => each === `top ${started.pid}`)).toHaveLength(1);
    expect(lines.at(-1)).toBe("[ 'A!', 'B!', 'C!' ]");
  });

  it("may wait only for its Parallels to close", { timeout: 120_000 }, async () => {
    const ends = await Promise.all(
      Array.from({ length: 4 }, () => program("closes-many.mjs", [startMethod]).ended),
    );
    for (const end of ends) expect(end).toMatchObject({ code: 0, stdout: "closed\n" });
  });

  it("finds its worker after a garbage collection", async () => {
    const end = await program("collects-garbage.mjs", [startMethod], ["--expose-gc"]).ended;
    expect(end).toMatchObject({ code: 0, stdout: "[ 'a' ]\n" });
  });
});

it("a program that makes many calls keeps no memory, listeners or descriptors of them", async () => {
  const { code, stdout } = await program("many-calls.mjs", [], ["--expose-gc"]).ended;
  expect(code).toBe(0);
  const more = JSON.parse(stdout) as Record<string, number>;
  expect(more).toMatchObject({ listeners: 0, descriptors: 0 });
  // 150 calls that each kept 2 KiB would be detected.
  expect(more["heap"]).toBeLessThan(300 * 1024);
});
