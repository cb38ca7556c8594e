/** A heap snapshot is sent at the pace of its reader. */
import { describe, expect, test } from "vitest";
import { CHILDREN, diagnosed, FORKED } from "../../support/diagnosed.js";

describe.each(CHILDREN)("in %s", (_, options) => {
  test("it has the objects of the program", async () => {
    const [, dump] = await diagnosed(options, { does: "makeKnown" }, { operation: "memory_dump" });
    expect(dump.value).toEqual({ bytes: dump.text.length });
    const { snapshot, nodes, strings } = JSON.parse(dump.text);
    const fields: string[] = snapshot.meta.node_fields;
    const object = snapshot.meta.node_types[0].indexOf("object");
    let count = 0;
    for (let at = 0; at < nodes.length; at += fields.length) {
      const isObject = nodes[at + fields.indexOf("type")] === object;
      if (isObject && strings[nodes[at + fields.indexOf("name")]] === "Known") count += 1;
    }
    // The prototype goes by that name on some versions of Node.
    expect([1234, 1235]).toContain(count);
  });
});

test("a slow reader gets one piece at a time, and memory does not grow with the text", async () => {
  const [, dump, open] = await diagnosed(
    FORKED,
    { does: "ballast", detail: 100_000 },
    { operation: "memory_dump", keep: false },
    { does: "openSnapshots" },
  );
  expect(dump.characters).toBe(dump.value.bytes);
  expect(dump.characters).toBeGreaterThan(15_000_000);
  expect(dump.mostOpen).toBe(1);
  expect(dump.mostMemory).toBeLessThan(dump.characters / 4);
  expect(open).toBe(0);
});

test("an abort ends it, and leaves no file", async () => {
  const [aborted, open, next] = await diagnosed(
    FORKED,
    { operation: "memory_dump", abortAfter: 3 },
    { does: "openSnapshots" },
    { operation: "memory_dump", keep: false },
  );
  expect(aborted).toEqual({ name: "Error", error: "nobody waits" });
  expect(open).toBe(0);
  expect(next.value.bytes).toBeGreaterThan(1_000_000);
});
