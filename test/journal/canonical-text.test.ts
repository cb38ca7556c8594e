/** Equal values have one text, however V8 holds them; different values have different texts. */
import { serialize } from "node:v8";
import { describe, expect, it } from "vitest";
import { canonicalText } from "../../src/journal/canonical-text.js";
import { CLONEABLE } from "../fixtures/cloneable.mjs";

/** The second object of this shape has its number as a double, as the first one had a fraction. */
const point = (x: number) => ({ x });
point(1.5);

const EQUAL: [string, unknown, unknown][] = [
  ["a number in an array of doubles", [1], [1.5, 1].slice(1)],
  ["a number in an object that once held a fraction", { x: 1 }, point(1)],
  [
    "a text cut from one with other characters",
    ["abcdefghijklmnop"],
    ["€abcdefghijklmnop".slice(1)],
  ],
  ["the order of properties", { a: 1, b: [2] }, { b: [2], a: 1 }],
  ["a part of a larger buffer", [new Uint8Array([1, 2])], [new Uint8Array([0, 1, 2]).subarray(1)]],
  ["a Map", new Map([["a", new Set([1])]]), new Map([["a", new Set([1])]])],
];

describe("equal values have the same text", () => {
  it.each(EQUAL)("%s", (_, one, other) => {
    expect(canonicalText(one)).toBe(canonicalText(other));
  });
});

it("at least some of these differ as bytes, so that their text is needed", () => {
  const differing = EQUAL.filter(([, one, other]) => !serialize(one).equals(serialize(other)));
  expect(differing.length).toBeGreaterThan(1);
});

it("different values have different texts", () => {
  const self: unknown[] = [];
  self.push(self);
  const shared = {};
  const values: unknown[] = [
    [1, "1", 1n, true, null, undefined, NaN, -0, 0, Infinity, "", "null", "undefined"],
    [[], {}, [[]], [{}], [undefined], Array(1), Array(2), [1, 2], ["1,2"], [[1], 2]],
    [new Map(), new Set(), new Map([[1, 2]]), new Set([1, 2]), new Map([[1, [2]]])],
    [new Date(0), new Date(NaN), 0n, /a/, /a/g, /b/, Object(1), Object("1"), Object(1n)],
    [new Uint8Array(2), new Uint8Array(3), new Int8Array(2), new ArrayBuffer(2)],
    [new Error("a"), new Error("b"), new TypeError("a")],
    [self, [[self]], [shared, shared], [{}, {}], { a: 1 }, { a: "1" }, { "a:1": 1 }],
  ].flat(1);
  expect(new Set(values.map(canonicalText)).size).toBe(values.length);
});

it("every value that can be cloned has a text", () => {
  for (const make of Object.values(CLONEABLE)) {
    expect(typeof canonicalText((make as () => unknown)())).toBe("string");
  }
});
