/** Random bytes drawn before the fork: no two children make the same id from them, and keys still match. */
import { describe, expect, test } from "vitest";
import { HoldsBytes } from "../../fixtures/inherits/holds-bytes.mjs";
import { kinds, UniqueIds } from "../../fixtures/inherits/unique-ids.mjs";
import { opened } from "../../support/opened.js";

const CHILDREN = 200;
const POOL = { pool: 4, batch: 1, maxItemsPerChild: CHILDREN / 4 };

describe.each([
  ["a child per item", {}],
  ["a pool", POOL],
])("%s", (_, options) => {
  test.each(["at top level", "in preload"])(
    "makes unique ids after one was made %s",
    async (when) => {
      const env = { ...process.env, FORKMAP_TEST_WHEN: when };
      const parallel = opened(new UniqueIds(), { ...options, env });
      const results = await parallel.mapProcesses(Array.from({ length: CHILDREN }, () => ""));
      expect(parallel.stats()).toMatchObject({ startMethod: "fork", reason: undefined });
      const ids = results.map((each) => each.split(" "));
      const distinct = kinds.map((kind, at) => [kind, new Set(ids.map((each) => each[at])).size]);
      expect(distinct).toEqual(kinds.map((kind) => [kind, CHILDREN]));
    },
  );
});

/** The bytes are used by `node:crypto` or by other code; as a whole, in part, or stored beside other data. */
test.each([
  ["cipher", 32],
  ["web crypto", 32],
  ["mac", 20],
  ["a text, and the bytes", 16],
  ["a salted sum", 16],
  ["a small seed", 8],
  ["a part", 40],
  ["data", 4096],
  ["key", 32],
])(
  "children are spawned if something may have been made with the bytes: %s",
  async (kind, size) => {
    const parallel = opened(Object.assign(new HoldsBytes(), { kind }));
    expect(await parallel.mapProcesses([1, 2])).toEqual([true, true]);
    expect(parallel.stats()).toMatchObject({
      startMethod: "spawn",
      reason: `${size} random bytes are held that holds-bytes.mjs has drawn, and all children would have the same; draw them in \`setup\``,
    });
  },
);

test.each([
  ["a text alone", "8 random bytes are held as a text"],
  ["a part of a pooled buffer", "8 random bytes are held"],
  ["a memory of WebAssembly", "16 random bytes are held"],
  ["a secret key", "random bytes of a key are held"],
  ["a pair of keys, by callback", "random bytes of a key are held"],
  ["a pair of keys as text", "random bytes of a key are held"],
  ["a key of web crypto", "random bytes of a key are held"],
  ["keys of a curve", "random bytes of a key are held"],
])("children are spawned if there is %s", async (kind, what) => {
  const parallel = opened(Object.assign(new HoldsBytes(), { kind }));
  expect(await parallel.mapProcesses([1, 2])).toEqual([true, true]);
  expect(parallel.stats()).toMatchObject({
    startMethod: "spawn",
    reason: `${what} that holds-bytes.mjs has drawn, and all children would have the same; draw them in \`setup\``,
  });
});

test("children are spawned if a package derives later ids from its first draw", async () => {
  const parallel = opened(Object.assign(new HoldsBytes(), { kind: "a store of ids" }));
  expect(await parallel.mapProcesses([1, 2])).toEqual([true, true]);
  expect(parallel.stats()).toMatchObject({
    startMethod: "spawn",
    reason:
      "the seed of a generator is held that uid has drawn, and all children would have the same; draw them in `setup`",
  });
});

test.each(["dropped", "a dropped key"])("%s bytes do not prevent a fork", async (kind) => {
  const parallel = opened(Object.assign(new HoldsBytes(), { kind }));
  expect(await parallel.mapProcesses([1, 2])).toEqual([true, true]);
  expect(parallel.stats()).toMatchObject({ startMethod: "fork", reason: undefined });
});
