/** Random bytes that are drawn before the fork: no two children make the same id of them, and no key stops fitting. */
import { describe, expect, test } from "vitest";
import { HoldsBytes } from "../fixtures/inherits/holds-bytes.mjs";
import { kinds, UniqueIds } from "../fixtures/inherits/unique-ids.mjs";
import { opened } from "../opened.js";

const CHILDREN = 200;
const POOL = { pool: 4, batch: 1, maxItemsPerChild: CHILDREN / 4 };

describe.each([
  ["a child per item", {}],
  ["a pool", POOL],
])("%s", (_, options) => {
  test.each(["at top level", "in preload"])(
    "makes ids of its own after one was made %s",
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

test.each(["cipher", "web crypto", "mac", "used again"])(
  "bytes that something was made with stay as they are: %s",
  async (kind) => {
    const parallel = opened(Object.assign(new HoldsBytes(), { kind }));
    expect(await parallel.mapProcesses([1, 2, 3])).toEqual([true, true, true]);
    expect(parallel.stats().reason).toBeUndefined();
  },
);

test("children are spawned where a key may be at stake", async () => {
  const parallel = opened(Object.assign(new HoldsBytes(), { kind: "key" }));
  expect(await parallel.mapProcesses([1, 2])).toEqual([true, true]);
  const { startMethod, reason } = parallel.stats();
  expect(startMethod).toBe("spawn");
  expect(reason).toBe(
    "32 random bytes are held that holds-bytes.mjs has drawn, and all children would have the same; draw them in `setup`",
  );
});

test.each(["a text, and the bytes", "a salted sum"])(
  "children are spawned where bytes may be a token or a salt: %s",
  async (kind) => {
    const parallel = opened(Object.assign(new HoldsBytes(), { kind }));
    expect(await parallel.mapProcesses([1, 2, 3])).toEqual([true, true, true]);
    expect(parallel.stats()).toMatchObject({
      startMethod: "spawn",
      reason:
        "16 random bytes are held that holds-bytes.mjs has drawn, and all children would have the same; draw them in `setup`",
    });
  },
);
