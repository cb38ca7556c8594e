import { describe, expect, it } from "vitest";
import { fixture, runScript } from "../../support/run-script.js";

describe("blocks that are allocated in C after packing the heap are adjacent", () => {
  it.each(["extensible", "enclosed"])("in a heap that is %s", async (heap) => {
    const ran = await runScript(fixture("programs/pack-c-heap.mjs"), {
      args: [heap],
      // As in the fork server: other threads would free blocks meanwhile.
      execArgv: ["--single-threaded", "--v8-pool-size=1"],
    });
    expect(ran).toMatchObject({ code: 0, stderr: "" });
    const pages = JSON.parse(ran.stdout) as { before: number; after: number };
    // About 19 KiB, in pieces.
    expect(pages.after).toBeLessThan(15);
    // Otherwise there was nothing to pack.
    expect(pages.before).toBeGreaterThan(50);
  });
});
