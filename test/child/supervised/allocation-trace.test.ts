/** An allocation trace is begun and ended by its caller, and is alone with the heap meanwhile. */
import { expect, test } from "vitest";
import { diagnosed, FORKED } from "../../support/diagnosed.js";

const START = { operation: "allocation_trace_start" };
const STOP = { operation: "allocation_trace_stop" };

test("it reports what has been kept in between, and another can follow", async () => {
  const answers = await diagnosed(
    FORKED,
    { does: "leaks" },
    START,
    { does: "leaks" },
    { does: "leaks" },
    { does: "leaks" },
    STOP,
    START,
    { does: "leaks" },
    STOP,
  );
  const [first, second] = [answers[5].value, answers[8].value];
  expect(answers[1].value).toEqual({ duration: 60_000 });
  expect(first.mode).toBe("exact");
  expect(sessionsIn(first)).toBe(300);
  expect(sessionsIn(second)).toBe(100);
});

test("what is out of order is an error, and what else looks into the heap", async () => {
  const [none, , twice, sample, dump, , again] = await diagnosed(
    FORKED,
    STOP,
    START,
    START,
    { operation: "memory_sample" },
    { operation: "memory_dump" },
    STOP,
    STOP,
  );
  expect(none.error).toBe(
    "Expected an allocation trace in this child, but there is none: begin it with allocation_trace_start",
  );
  expect(again.error).toBe(none.error);
  expect(twice.error).toBe(
    "Expected no allocation trace in this child, but allocation_trace_start has begun one: end it with allocation_trace_stop",
  );
  expect([sample.error, dump.error]).toEqual(
    ["memory_sample", "memory_dump"].map(
      (operation) =>
        `Expected nothing else to look into the memory of this child during ${operation}, but ` +
        "allocation_trace_start is running: end it with allocation_trace_stop",
    ),
  );
});

test("a CPU profile meanwhile does not end it", async () => {
  const answers = await diagnosed(
    FORKED,
    START,
    { operation: "cpu_profile", args: { duration: 20 } },
    { does: "leaks" },
    STOP,
  );
  expect(sessionsIn(answers[3].value)).toBe(100);
});

test("an inspector of the program's own that ends it is an error, and the next trace works", async () => {
  const answers = await diagnosed(
    FORKED,
    START,
    { does: "otherInspector" },
    STOP,
    START,
    { does: "leaks" },
    STOP,
  );
  expect(answers[2].error).toBe(
    "V8 has tracked no allocations: another inspector of this child has ended the tracking. Ask again without one",
  );
  expect(sessionsIn(answers[5].value)).toBe(100);
});

test("it ends by itself, and keeps its report", async () => {
  const answers = await diagnosed(
    FORKED,
    { ...START, args: { duration: 1 } },
    { operation: "memory_sample", args: { duration: 1 }, until: true },
    { does: "leaks" },
    STOP,
  );
  expect(answers[1].value.mode).toBe("sampling");
  expect(answers[3].value.mode).toBe("exact");
  expect(JSON.stringify(answers[3].value)).not.toContain("growCache");
});

function sessionsIn({ retained }: any): number {
  return retained.classes.top.find(({ name }: { name: string }) => name === "Session").count;
}
