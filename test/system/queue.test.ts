import { describe, expect, it } from "vitest";
import { Link, Queue } from "../../src/system/queue.js";

class Named extends Link {
  readonly name: number;
  constructor(name: number) {
    super();
    this.name = name;
  }
}

function drain(queue: Queue<Named>): number[] {
  const names: number[] = [];
  for (let each = queue.shift(); each; each = queue.shift()) names.push(each.name);
  return names;
}

describe("a queue", () => {
  it("gives its elements in the order in which they came", () => {
    const queue = new Queue<Named>();
    for (const name of [1, 2, 3]) queue.push(new Named(name));
    const [first, second] = [queue.first!, queue.following(queue.first!)!];
    queue.insert(new Named(0), first);
    queue.insert(new Named(1.5), second);
    expect(queue.size).toBe(5);
    expect(queue.first?.name).toBe(0);
    expect(drain(queue)).toEqual([0, 1, 1.5, 2, 3]);
    expect(queue.size).toBe(0);
  });

  it("does, at random, what an array would do", () => {
    const queue = new Queue<Named>();
    const other = new Queue<Named>();
    let expected: Named[] = [];
    for (let step = 0; step < 20_000; step += 1) {
      const way = Math.random();
      const any = expected[Math.floor(Math.random() * expected.length)];
      if (way < 0.3) {
        expected.push(new Named(step));
        queue.push(expected.at(-1)!);
      } else if (way < 0.5) {
        const before = any && expected.indexOf(any);
        expected.splice(before ?? expected.length, 0, new Named(step));
        queue.insert(expected[before ?? expected.length - 1]!, any);
      } else if (way < 0.75 && any) {
        expect(queue.has(any)).toBe(true);
        expect(other.remove(any)).toBe(false);
        expect(queue.remove(any)).toBe(true);
        expect(queue.remove(any)).toBe(false);
        expected = expected.filter((each) => each !== any);
      } else {
        expect(queue.shift()).toBe(expected.shift());
      }
      expect(queue.size).toBe(expected.length);
      expect(queue.first).toBe(expected[0]);
    }
    expect(drain(queue)).toEqual(expected.map(({ name }) => name));
  });
});
