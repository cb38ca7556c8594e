import { describe, expect, it } from "vitest";
import { type Slot, Slots } from "../../src/container/slots.js";

/** Whether `promise` has settled by the end of this turn. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol("pending");
  const turn = new Promise((resolve) => setImmediate(resolve, pending));
  return (await Promise.race([promise, turn])) !== pending;
}

describe("Slots", () => {
  it("are numbered from 0, in the order they are taken", async () => {
    expect(await acquire(new Slots(3), 3)).toEqual(
      [0, 1, 2].map((num) => ({ num, generation: 1 })),
    );
  });

  it("are taken again lowest number first", async () => {
    const slots = new Slots(4);
    const [first, second, third] = await acquire(slots, 4);
    for (const slot of [third, first, second]) slots.release(slot);
    expect((await acquire(slots, 3)).map((slot) => slot.num)).toEqual([0, 1, 2]);
  });

  it("count how often each was taken", async () => {
    const slots = new Slots(2);
    for (const generation of [1, 2, 3]) {
      const slot = await slots.acquire();
      expect(slot).toEqual({ num: 0, generation });
      slots.release(slot);
    }
  });

  it("are never more than their limit", async () => {
    const slots = new Slots(2);
    const [first] = await acquire(slots, 2);
    const third = slots.acquire();
    expect(await isSettled(third)).toBe(false);
    slots.release(first);
    expect(await third).toEqual({ num: 0, generation: 2 });
  });

  it("go to whoever waits longest", async () => {
    const slots = new Slots(1);
    const held = await slots.acquire();
    const order: number[] = [];
    const waiting = [1, 2, 3].map((n) =>
      slots.acquire().then((slot) => {
        order.push(n);
        slots.release(slot);
      }),
    );
    slots.release(held);
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
  });

  it("can be given back twice without harm, even once taken again", async () => {
    const slots = new Slots(1);
    const first = await slots.acquire();
    slots.release(first);
    slots.release(first);
    await slots.acquire();
    slots.release(first);
    expect(await isSettled(slots.acquire())).toBe(false);
  });
});

function acquire(slots: Slots, count: number): Promise<Slot[]> {
  return Promise.all(Array.from({ length: count }, () => slots.acquire()));
}
