/** A heap snapshot is read alike, wherever its text is cut. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { SnapshotReader } from "../../../src/child/supervised/snapshot-reader.js";

const TEXT = `{"snapshot":{"meta":{"node_fields":["a","]"]},"node_count":2},
"nodes":[9,10,0
,123456789012,7
],
"edges":[],
"trace_tree":[1,0,2,3,[2,1,4,5,[],3,1,6,7,[8]]],
"locations":[5],
"strings":["<dummy>",
"with \\"quotes\\" and \\\\",
"skipped, [1]",
"\\u00e9\\\\"]}`;

test.each([1, 2, 3, 7, 50, TEXT.length])("in pieces of %s characters", (length) => {
  const read: unknown[] = [];
  let index = -1;
  const reader = new SnapshotReader({
    head: (head) => read.push(head.node_count, head.meta.node_fields),
    numbers: (array) =>
      array === "locations" ? undefined : (value) => read.push(`${array} ${value}`),
    nested: (begins) => read.push(begins ? "[" : "]"),
    needsString: () => (index += 1) !== 2,
    string: (text) => read.push(text),
  });
  for (let at = 0; at < TEXT.length; at += length) reader.write(TEXT.slice(at, at + length));
  expect(read).toEqual([
    2,
    ["a", "]"],
    ...[9, 10, 0, 123456789012, 7].map((value) => `nodes ${value}`),
    ...[1, 0, 2, 3].map((value) => `trace_tree ${value}`),
    "[",
    ...[2, 1, 4, 5].map((value) => `trace_tree ${value}`),
    "[",
    "]",
    ...[3, 1, 6, 7].map((value) => `trace_tree ${value}`),
    "[",
    "trace_tree 8",
    "]",
    "]",
    "<dummy>",
    'with "quotes" and \\',
    "é\\",
  ]);
});

test("a child that is not asked loads no operation", () => {
  const file = new URL("../../../src/child/supervised/diagnostics.ts", import.meta.url);
  expect(readFileSync(file, "utf8")).not.toMatch(/^import (?!type )/m);
});
