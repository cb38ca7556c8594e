import reference from "fast-json-stable-stringify";
import { expect, it } from "vitest";
import { stableStringify } from "../dist/stable-json.js";
import { seeded } from "./seeded.js";

const KEYS = ["a", "b", "10", "9", "é", "", "__proto__", "toJSON2", "A", "\u{1f600}"];
const LEAVES = [null, true, "", 'é€😀\u0000"\\\n', "\ud800", 0, -0, 1.5e300, undefined, Number.NaN];

it("writes what fast-json-stable-stringify writes", () => {
  const below = seeded(7);
  const value = (depth: number): unknown => {
    const kind = below(depth > 4 ? 1 : 4);
    if (kind < 2) return LEAVES[below(LEAVES.length)];
    const members = Array.from({ length: below(5) }, () => value(depth + 1));
    if (kind === 2) return members;
    return Object.fromEntries(members.map((each) => [KEYS[below(KEYS.length)], each]));
  };
  for (let i = 0; i < 2000; i += 1) {
    const given = { of: value(0), date: new Date(i), nothing: { toJSON: () => undefined } };
    expect(stableStringify(given)).toBe(reference(given));
  }
});

it("refuses what contains itself", () => {
  const value: { self?: unknown } = {};
  value.self = [value];
  expect(() => stableStringify(value)).toThrow(TypeError);
});
