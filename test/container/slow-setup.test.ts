/** A restart while the first setup is under way: the new set stays, and the old setup is of no consequence. */
import { setTimeout as sleep } from "node:timers/promises";
import { Controller } from "forkmap/container";
import { expect, it, vi } from "vitest";
import { Performs } from "../fixtures/services/performs.mjs";
import { descendants } from "../support/leftovers.js";
import { SOON } from "../support/soon.js";

it("goes on with the new set", async () => {
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  let setups = 0;
  let isThrough = false;
  const controller = new Controller(async (container) => {
    setups += 1;
    if (setups === 1) await sleep(1500);
    try {
      container.run(new Performs(["ready", "stay"]), { count: 2 });
    } finally {
      if (setups === 2) isThrough = true;
    }
  });
  const running = controller.run();
  await sleep(200);
  await controller.restart();
  expect(setups).toBe(2);
  await sleep(2000);
  expect(isThrough).toBe(true);
  expect(controller.container?.instances.map(({ state }) => state)).toEqual(["ready", "ready"]);
  await controller.stop();
  await running;
  await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
  vi.restoreAllMocks();
});
