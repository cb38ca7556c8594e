import { afterEach, expect, it } from "vitest";
import { stableStringify } from "../../dist/wire/stable-json.js";

const { JSON: original } = globalThis;
const { stringify } = JSON;

afterEach(() => {
  globalThis.JSON = original;
  JSON.stringify = stringify;
});

it("sorts keys", () => {
  expect(stableStringify({ b: [1, { d: 2, c: "é" }], a: null })).toBe(
    '{"a":null,"b":[1,{"c":"é","d":2}]}',
  );
});

it.each([
  ["another object", () => (globalThis.JSON = { stringify: () => "boo" } as unknown as JSON)],
  ["nothing", () => (globalThis.JSON = undefined as unknown as JSON)],
  ["another function", () => (JSON.stringify = () => "boo")],
])("sorts them also with %s in the place of JSON", (_, replace) => {
  replace();
  const { JSON: theirs } = globalThis;
  expect(stableStringify({ b: "x", a: 1 })).toBe('{"a":1,"b":"x"}');
  expect(globalThis.JSON).toBe(theirs);
});

it("refuses a value that contains itself", () => {
  const value: { self?: unknown } = {};
  value.self = [value];
  expect(() => stableStringify(value)).toThrow(TypeError);
});
