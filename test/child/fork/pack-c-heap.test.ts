import { expect, it } from "vitest";
import { fixture, runScript } from "../../support/run-script.js";

it("what is allocated in C once the heap is packed lies side by side", async () => {
  const ran = await runScript(fixture("programs/pack-c-heap.mjs"));
  expect(ran).toMatchObject({ code: 0, stderr: "" });
  const pages = JSON.parse(ran.stdout) as { before: number; after: number };
  // Some 19 KiB, in pieces.
  expect(pages.after).toBeLessThan(15);
  // Or there would have been nothing to pack.
  expect(pages.before).toBeGreaterThan(50);
});
