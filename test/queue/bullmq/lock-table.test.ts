import { expect, it } from "vitest";
import { LockTable } from "../../../src/queue/bullmq/lock-table.js";

const lock = (id: string) => ({ queue: "q", id, token: `token:${id}` });

it("shows another thread the locks that are held", () => {
  const table = new LockTable(2);
  const other = new LockTable(table.buffer);
  const first = table.add(lock("ä"))!;
  table.add(lock("b"));
  expect(other.read()).toHaveLength(2);
  table.remove(first);
  expect(other.read()).toEqual([lock("b")]);
  table.add(lock("c"));
  expect(other.read()).toEqual(expect.arrayContaining([lock("b"), lock("c")]));
});

it("refuses what it has no room for", () => {
  const table = new LockTable(1);
  expect(table.add(lock("x".repeat(300)))).toBe(undefined);
  expect(table.read()).toEqual([]);
  expect(table.add(lock("a"))).toBe(0);
  expect(table.add(lock("b"))).toBe(undefined);
  expect(table.read()).toEqual([lock("a")]);
});
