/** Places are given to jobs in their order, and come back whatever becomes of a job. */
import { expect, test } from "vitest";
import { type Held, Places } from "../../src/queue/places.js";

const { signal } = new AbortController();

/** What has been granted so far, by name. */
function asked(places: Places) {
  const granted: Record<string, Held | undefined> = {};
  const ask = async (name: string, items: number, own = signal) => {
    granted[name] = await places.take(items, own);
  };
  return { granted, ask: (...args: Parameters<typeof ask>) => void ask(...args) };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("a job waits for as many places as it has items, and nobody overtakes it", async () => {
  const { granted, ask } = asked(new Places(3));
  ask("a", 2);
  ask("b", 2);
  ask("c", 1);
  await turn();
  expect(Object.keys(granted)).toEqual(["a"]);
  granted["a"]!.keep(1);
  await turn();
  expect(Object.keys(granted)).toEqual(["a", "b"]);
  granted["a"]!.keep(0);
  granted["a"]!.keep(0);
  await turn();
  expect(Object.keys(granted)).toEqual(["a", "b", "c"]);
});

test("a job with more items than places has all of them", async () => {
  const { granted, ask } = asked(new Places(3));
  ask("a", 100);
  ask("b", 1);
  await turn();
  expect(Object.keys(granted)).toEqual(["a"]);
  granted["a"]!.keep(99);
  granted["a"]!.keep(2);
  await turn();
  expect(Object.keys(granted)).toEqual(["a", "b"]);
});

test("a job that is aborted while it waits leaves its turn to others", async () => {
  const { granted, ask } = asked(new Places(2));
  const controller = new AbortController();
  ask("a", 1);
  ask("b", 2, controller.signal);
  ask("c", 1);
  controller.abort();
  ask("d", 1, AbortSignal.abort());
  await turn();
  expect(granted["b"]).toBeUndefined();
  expect(granted["c"]).toBeDefined();
  expect(granted["d"]).toBeUndefined();
});
