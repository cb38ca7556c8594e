import { describe, expect, it } from "vitest";
import { TaskList } from "../../src/pool/task-list.js";
import { FreshItems, type Task } from "../../src/wire/task.js";
import { seeded } from "../support/seeded.js";

function task(index: number): Task {
  return { index } as Task;
}

function listOf(capacity: number, count: number): TaskList {
  const list = new TaskList(capacity);
  for (let index = 0; index < count; index += 1) list.add([task(index)]);
  return list;
}

const indexes = (tasks: readonly Task[]) => tasks.map(({ index }) => index);

describe("TaskList", () => {
  it("numbers tasks in order, and returns each once", () => {
    const list = listOf(4, 3);
    expect([list.size, list.next, list.oldest, list.room]).toEqual([3, 3, 0, 1]);
    expect(list.take(1)?.index).toBe(1);
    expect(list.take(1)).toBeUndefined();
    expect([list.size, list.next, list.oldest, list.room]).toEqual([2, 3, 0, 1]);
  });

  it("has room again once its oldest task is taken, however many younger ones were", () => {
    const list = listOf(4, 4);
    for (const seq of [1, 2, 3]) list.take(seq);
    expect([list.size, list.room]).toEqual([1, 0]);
    list.take(0);
    expect([list.size, list.room, list.oldest, list.next]).toEqual([0, 4, 4, 4]);
  });

  it("returns the begun tasks and the others", () => {
    const list = listOf(8, 6);
    list.take(1);
    expect(list.upTo(3).map(([seq, { index }]) => [seq, index])).toEqual([
      [0, 0],
      [2, 2],
    ]);
    expect(indexes(list.takeAll(4))).toEqual([4, 5]);
    expect(indexes(list.takeAll(0, 3))).toEqual([0, 2]);
    expect(indexes(list.takeAll())).toEqual([3]);
    expect(list.size).toBe(0);
  });

  it("makes a task of a fresh item when asked for it, once", () => {
    const list = new TaskList(4);
    list.add(new FreshItems(7, ["a", "b", "c"]));
    const made = list.get(1);
    expect(made).toEqual({ index: 8, item: "b", attempt: 1 });
    expect(list.get(1)).toBe(made);
    expect([0, 1, 2, 3].map((seq) => list.isFresh(seq))).toEqual([true, false, true, false]);
    expect([list.indexOf(0), list.takeFresh(0)]).toEqual([7, "a"]);
    expect([list.isFresh(0), list.get(0), list.size, list.oldest]).toEqual([
      false,
      undefined,
      2,
      1,
    ]);
    list.add([task(1)]);
    expect(indexes(list.takeAll())).toEqual([8, 9, 1]);
  });

  it("equals a map of numbers to tasks after any operations", () => {
    for (let seed = 1; seed <= 10; seed += 1) {
      const random = seeded(seed);
      const capacity = 1 + random(12);
      const list = new TaskList(capacity);
      const map = new Map<number, number>();
      let next = 0;
      const oldest = () => Math.min(next, ...map.keys());
      const removed = (from: number, to: number) => {
        const keys = [...map.keys()].filter((seq) => seq >= from && seq < to);
        return keys.sort((a, b) => a - b).map((seq) => (map.delete(seq), seq));
      };
      for (let step = 0; step < 400; step += 1) {
        const seq = oldest() + random(capacity);
        const what = random(10);
        if (what < 5 && list.room > 0) {
          list.add(random(2) === 0 ? [task(next)] : new FreshItems(next, [next]));
          map.set(next, next);
          next += 1;
        } else if (what < 8 && seq < next) {
          expect(list.take(seq)?.index).toBe(map.get(seq));
          map.delete(seq);
        } else if (what === 8) {
          expect(indexes(list.takeAll(seq))).toEqual(removed(seq, next));
        } else {
          expect(indexes(list.takeAll(0, seq))).toEqual(removed(0, seq));
        }
        const from = oldest() + random(capacity + 1);
        const rest = [...map.keys()].filter((each) => each >= from);
        expect(list.countFrom(from)).toBe(rest.length);
        expect(list.firstFrom(from)?.index).toBe(map.get(Math.min(...rest)));
        const first = oldest();
        expect([list.size, list.next, list.oldest, list.room]).toEqual([
          map.size,
          next,
          first,
          capacity - (next - first),
        ]);
      }
    }
  });
});
