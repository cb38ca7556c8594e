import { expect, it } from "vitest";
import { RankedSlot, SlotRanking } from "../../src/pool/slot-ranking.js";
import type { Slot } from "../../src/pool/slot.js";

it("the first slot of a ranking is always the one with the fewest tasks, and among equals the lowest", () => {
  const rankings = [new SlotRanking(), new SlotRanking()];
  const slots = Array.from({ length: 256 }, (_, num) => new RankedSlot({ num } as Slot));
  for (let step = 0; step < 20_000; step += 1) {
    const slot = slots[Math.floor(Math.random() * slots.length)]!;
    if (Math.random() < 0.2) slot.ranking?.remove(slot);
    else rankings[Math.random() < 0.9 ? 0 : 1]!.place(slot, Math.floor(Math.random() * 5));
    for (const ranking of rankings) {
      const inOrder = slots
        .filter((each) => each.ranking === ranking)
        .toSorted((one, other) => one.load - other.load || one.slot.num - other.slot.num);
      expect(ranking.first).toBe(inOrder[0]);
    }
  }
});
