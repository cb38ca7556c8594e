import { describe, expect, it } from "vitest";
import { Spans } from "./fixtures/spans.mjs";
import { opened } from "./opened.js";

describe.each(["fork", "spawn"] as const)("a call by %s", (startMethod) => {
  it("gives a free slot the next item at once", async () => {
    const parallel = opened(new Spans(), { startMethod, concurrency: 2 });
    const [long, ...short] = await parallel.mapProcesses([1500, 10, 10, 10]);
    for (const each of short) expect(each.to).toBeLessThan(long.to);
    expect(new Set(short.map((each) => each.num))).toEqual(new Set([1]));
  });

  it("never has more children than slots", async () => {
    const spans = await opened(new Spans(), { startMethod, concurrency: 2 }).mapProcesses(
      Array(7).fill(60),
    );
    for (const { from } of spans) {
      expect(
        spans.filter((each) => each.from <= from && from < each.to).length,
      ).toBeLessThanOrEqual(2);
    }
  });

  it("starts no more children than there are items", async () => {
    const spans = await opened(new Spans(), { startMethod, concurrency: 16 }).mapProcesses([1, 1]);
    expect(new Set(spans.map((each) => each.pid)).size).toBe(2);
    expect(new Set(spans.map((each) => each.num))).toEqual(new Set([0, 1]));
  });

  it("numbers the slots from 0, and tells how many children each has had", async () => {
    const spans = await opened(new Spans(), { startMethod, concurrency: 2 }).mapProcesses(
      Array(6).fill(30),
    );
    expect(new Set(spans.map((each) => each.num))).toEqual(new Set([0, 1]));
    const places = spans.map((each) => `${each.num}/${each.generation}`);
    expect(new Set(places).size).toBe(6);
    expect(places).toContain("0/1");
    expect(places).toContain("1/1");
  });
});

it("runs 200 items in 200 children at once", async () => {
  const spans = await opened(new Spans(), { startMethod: "fork", concurrency: 200 }).mapProcesses(
    Array(200).fill(4000),
  );
  expect(new Set(spans.map((each) => each.pid)).size).toBe(200);
  expect(Math.max(...spans.map((each) => each.from))).toBeLessThan(
    Math.min(...spans.map((each) => each.to)),
  );
});
