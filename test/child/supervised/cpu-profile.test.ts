/** A CPU profile shows where a child spends its time. */
import { describe, expect, test } from "vitest";
import { CHILDREN, diagnosed, FORKED } from "../../support/diagnosed.js";

/** Time that no function of the program takes. */
const OTHERS = new Set(["(idle)", "(program)", "(garbage collector)"]);

describe.each(CHILDREN)("in %s", (_, options) => {
  test("the busy function is on top", async () => {
    const args = { duration: 500, interval: 500 };
    const [{ value, text }] = await diagnosed(options, {
      operation: "cpu_profile",
      args,
      does: "busy",
    });
    expect(value.bytes).toBe(Buffer.byteLength(text));
    const { nodes, samples, timeDeltas } = JSON.parse(text);
    expect(samples).toHaveLength(value.samples);
    expect(timeDeltas).toHaveLength(value.samples);
    const names = new Map<number, string>(
      nodes.map((node: any) => [node.id, node.callFrame.functionName]),
    );
    const counts = new Map<string, number>();
    for (const id of samples) {
      const name = names.get(id)!;
      if (!OTHERS.has(name)) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const [top] = [...counts].toSorted(([, a], [, b]) => b - a);
    expect(top![0]).toBe("busyLoop");
  });
});

test("an abort ends it, and the next one runs", async () => {
  const [aborted, next] = await diagnosed(
    FORKED,
    { operation: "cpu_profile", args: { duration: 3_600_000 }, abortAfter: { ms: 50 } },
    { operation: "cpu_profile", args: { duration: 20 } },
  );
  expect(aborted).toEqual({ name: "Error", error: "nobody waits" });
  expect(JSON.parse(next.text).nodes.length).toBeGreaterThan(0);
});
