import { expect, it } from "vitest";
import { fixture, runScript } from "../../support/run-script.js";

it("blocks that are allocated in C after packing the heap are adjacent", async () => {
  const ran = await runScript(fixture("programs/pack-c-heap.mjs"));
  expect(ran).toMatchObject({ code: 0, stderr: "" });
  const pages = JSON.parse(ran.stdout) as { before: number; after: number };
  // About 19 KiB, in pieces.
  expect(pages.after).toBeLessThan(15);
  // Otherwise there was nothing to pack.
  expect(pages.before).toBeGreaterThan(50);
});
