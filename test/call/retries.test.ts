import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ThirdTime } from "../fixtures/attempts.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

const AT_ONCE = { min: 1, max: 1 };

describe.each(["fork", "spawn"] as const)("retries by %s", (startMethod) => {
  it.each(["throw", "die", "hang"])("run an item again in a new child: %s", async (way) => {
    const notes = `${temporaryDirectory()}/notes`;
    const parallel = opened(new ThirdTime(), {
      startMethod,
      retries: 2,
      retryDelay: AT_ONCE,
      ...(way === "hang" ? { timeout: 2500 } : {}),
    });
    expect(await parallel.mapProcesses([{ notes, way }])).toEqual(["attempt 3"]);
    const attempts = noted(notes);
    expect(attempts.map((each) => each["attempt"])).toEqual([1, 2, 3]);
    expect(new Set(attempts.map((each) => each["pid"])).size).toBe(3);
    expect(attempts.map((each) => [each["num"], each["generation"]])).toEqual([
      [0, 1],
      [0, 2],
      [0, 3],
    ]);
  });

  it("are not made by default", async () => {
    const notes = `${temporaryDirectory()}/notes`;
    const error = await rejection(
      opened(new ThirdTime(), { startMethod }).mapProcesses([{ notes, way: "die" }]),
    );
    expect(error.attempt).toBe(1);
    expect(noted(notes)).toHaveLength(1);
  });

  it("end with the error of the last attempt", async () => {
    const notes = `${temporaryDirectory()}/notes`;
    const parallel = opened(new ThirdTime(), { startMethod, retries: 1, retryDelay: AT_ONCE });
    const error = await rejection(parallel.mapProcesses([{ notes, way: "throw" }]));
    expect(error).toMatchObject({ attempt: 2, cause: { message: "attempt 2" } });
    expect(error.message).toContain("attempt 2)");
  });

  it("wait longer each time, between half of the delay and all of it", async () => {
    const notes = `${temporaryDirectory()}/notes`;
    const retryDelay = { min: 400, factor: 3, max: 800 };
    const parallel = opened(new ThirdTime(), { startMethod, retries: 2, retryDelay });
    await parallel.mapProcesses([{ notes, way: "throw" }]);
    const [first, second, third] = noted(notes).map((each) => each["at"]);
    expect(second - first).toBeGreaterThanOrEqual(199);
    // 1200 by the factor, 800 by the maximum.
    expect(third - second).toBeGreaterThanOrEqual(399);
  });

  it("are not made for a result of the wrong type, which would recur", async () => {
    const notes = `${temporaryDirectory()}/notes`;
    const parallel = opened(new ThirdTime(), { startMethod, retries: 2, retryDelay: AT_ONCE });
    const error = await rejection(parallel.mapProcesses([{ notes, way: "mistype" }]));
    expect(error).toMatchObject({ code: "ERR_PARALLEL_RESULT_TYPE", attempt: 1 });
  });

  it("leave the slot to other items between attempts", async () => {
    const directory = temporaryDirectory();
    const items = ["throw", "throw"].map((way, i) => ({ notes: `${directory}/${i}`, way }));
    const parallel = opened(new ThirdTime(), {
      startMethod,
      concurrency: 1,
      retries: 2,
      retryDelay: { min: 1000, factor: 1 },
    });
    expect(await parallel.mapProcesses(items)).toEqual(["attempt 3", "attempt 3"]);
    const [first, second] = items.map((each) => noted(each.notes));
    expect(second[0]["at"]).toBeLessThan(first[1]["at"]);
  });

  it("call onStart once, and onFinish with the attempt that succeeded", async () => {
    const notes = `${temporaryDirectory()}/notes`;
    const calls: unknown[] = [];
    const parallel = opened(new ThirdTime(), { startMethod, retries: 2, retryDelay: AT_ONCE });
    await parallel.mapProcesses([{ notes, way: "throw" }], {
      onStart: (_, index) => calls.push(["start", index]),
      onFinish: (_item, index, _result, { attempt }) => calls.push(["finish", index, attempt]),
    });
    expect(calls).toEqual([
      ["start", 0],
      ["finish", 0, 3],
    ]);
  });
});

function noted(file: string): Record<string, number>[] {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}
