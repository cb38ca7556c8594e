import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { itemKey, KeyCounter } from "../../src/journal/item-key.js";
import { KeyTable } from "../../src/journal/key-table.js";

const sha256 = (text: string) => createHash("sha256").update(text).digest("base64url");

describe("itemKey", () => {
  it("is the SHA-256 of the stable JSON", () => {
    expect(itemKey("ü")).toBe(sha256('"ü"'));
    expect(itemKey({ b: [1, null], a: "x" })).toBe(sha256('{"a":"x","b":[1,null]}'));
  });

  it("is the same for items that a worker cannot distinguish", () => {
    const same = [
      [
        { a: 1, b: { c: 2, d: 3 } },
        { b: { d: 3, c: 2 }, a: 1 },
      ],
      [{ a: 1 }, { a: 1, b: undefined }],
      [new Date(0), "1970-01-01T00:00:00.000Z"],
      [-0, 0],
    ];
    for (const [one, other] of same) expect(itemKey(one)).toBe(itemKey(other));
  });

  it("differs for items that differ", () => {
    const texts = ["", "1", "null", "[]", "a\0", "a", "\ud800", "\udc00", "\ufffd", "a b", '"'];
    const simple = [0, 1, 1e21, 0.1, null, true, false];
    const arrays = [[], [[]], [{}], [1, 2], [2, 1], [12], ["1"], [null]];
    const objects = [{}, { a: 1 }, { a: "1" }, { a: [1] }, { a: { a: 1 } }, { b: 1 }];
    const items = [...texts, ...simple, ...arrays, ...objects];
    expect(new Set(items.map((item) => itemKey(item))).size).toBe(items.length);
  });
});

describe("KeyCounter", () => {
  it("distinguishes equal items by their occurrence, whatever comes between them", () => {
    const keysOf = (items: string[]) => {
      const counter = new KeyCounter();
      return items.map((item) => counter.next(itemKey(item)));
    };
    const [a1, b1, a2, a3, b2] = keysOf(["a", "b", "a", "a", "b"]);
    expect(new Set([a1, b1, a2, a3, b2]).size).toBe(5);
    expect(a1).toBe(itemKey("a"));
    expect(keysOf(["b", "b", "a", "c", "a", "a"])).toEqual([b1, b2, a1, itemKey("c"), a2, a3]);
  });
});

describe("KeyTable", () => {
  it("holds the same entries as a Map", () => {
    const table = new KeyTable();
    const map = new Map<string, number>();
    const random = pseudorandom();
    for (let i = 0; i < 30_000; i += 1) {
      const key = itemKey(Math.floor(random() * 10_000));
      const value = Math.floor(random() * 2 ** 52);
      table.set(key, value);
      map.set(key, value);
    }
    expect(table.size).toBe(map.size);
    expect([...map].every(([key, value]) => table.get(key) === value)).toBe(true);
    expect(table.get(itemKey("none"))).toBeUndefined();
  });

  it("distinguishes keys that differ in one character", () => {
    const table = new KeyTable();
    const key = itemKey("a");
    const keys = Array.from(key, (char, i) => {
      return `${key.slice(0, i)}${char === "x" ? "y" : "x"}${key.slice(i + 1)}`;
    });
    for (const [i, each] of keys.entries()) table.set(each, i);
    expect(keys.map((each) => table.get(each))).toEqual([...keys.keys()]);
    expect(table.get(key)).toBeUndefined();
  });

  it.each(["", "short", "x".repeat(44), `${"x".repeat(42)}/`, `${"x".repeat(42)}š`])(
    "refuses %j, which is not a key",
    (key) => expect(() => new KeyTable().set(key, 1)).toThrow(TypeError),
  );
});

/** Returns numbers from 0 to 1, the same in every run. */
function pseudorandom(): () => number {
  let state = 1;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}
