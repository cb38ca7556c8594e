import path from "node:path";
import { describe, expect, it } from "vitest";
import { makesAfter } from "../support/after-item.js";
import { Does } from "../fixtures/does.mjs";
import { ThrowsBelowZero } from "../fixtures/throws.mjs";
import { opened } from "../support/opened.js";
import { rejection } from "../support/rejection.js";
import { temporaryDirectory } from "../support/temporary.js";

describe.each(["fork", "spawn"] as const)("after an error by %s", (startMethod) => {
  it("no new item starts", async () => {
    const started: number[] = [];
    const parallel = opened(new ThrowsBelowZero(), { startMethod, concurrency: 1 });
    const error = await rejection(
      parallel.mapProcesses([1, -1, 2, 3], { onStart: (item) => started.push(item) }),
    );
    expect(error).toMatchObject({ index: 1, cause: { message: "-1 is below zero" } });
    expect(started).toEqual([1, -1]);
  });

  it("the items in flight finish first", async () => {
    const finished: number[] = [];
    const parallel = opened(new ThrowsBelowZero(), { startMethod, concurrency: 2 });
    const error = await rejection(
      parallel.mapProcesses([900, -1], { onFinish: (item) => finished.push(item) }),
    );
    expect(error.index).toBe(1);
    expect(finished).toEqual([900]);
  });

  it("the first error in time is thrown, not the first of the items", async () => {
    const failed = path.join(temporaryDirectory(), "failed");
    makesAfter(1, failed);
    const parallel = opened(new Does(), { startMethod, concurrency: 2 });
    const items = [{ until: failed, throws: "later" }, { throws: "first" }];
    expect((await rejection(parallel.mapProcesses(items))).index).toBe(1);
  });

  it("eachProcess rejects as mapProcesses does", async () => {
    const parallel = opened(new ThrowsBelowZero(), { startMethod });
    expect(await rejection(parallel.eachProcess([-1]))).toMatchObject({
      index: 0,
      code: "ERR_PARALLEL_ITEM",
    });
    expect(await parallel.eachProcess([1, 2])).toBe(0);
  });

  it("all items run with stopOnError: false, and all errors are reported in the order of the items", async () => {
    const finished: number[] = [];
    const parallel = opened(new ThrowsBelowZero(), {
      startMethod,
      concurrency: 2,
      stopOnError: false,
    });
    const call = parallel.mapProcesses([-400, 1, -1, 2], {
      onFinish: (item) => finished.push(item),
    });
    const error = await rejection(call);
    expect(error).toBeInstanceOf(AggregateError);
    expect(error.message).toBe("2 of 4 items failed");
    expect(error.errors.map((each: any) => each.index)).toEqual([0, 2]);
    expect(new Set(finished)).toEqual(new Set([1, 2]));
  });

  it("a single error is also in an AggregateError with stopOnError: false", async () => {
    const error = await rejection(
      opened(new ThrowsBelowZero(), { startMethod, stopOnError: false }).mapProcesses([-1]),
    );
    expect(error).toBeInstanceOf(AggregateError);
    expect(error.errors).toHaveLength(1);
  });

  it("mapSettled continues, whatever stopOnError says", async () => {
    const parallel = opened(new ThrowsBelowZero(), {
      startMethod,
      concurrency: 1,
      stopOnError: true,
    });
    const settled = await parallel.mapSettled([-1, 1], { stopOnError: true });
    expect(settled.map((each) => each.status)).toEqual(["rejected", "fulfilled"]);
  });

  it("the next call works", async () => {
    const parallel = opened(new ThrowsBelowZero(), { startMethod });
    await rejection(parallel.mapProcesses([-1]));
    expect(await parallel.mapProcesses([1])).toEqual(["1"]);
    expect(parallel.stats().items).toEqual({ succeeded: 1, failed: 1 });
  });
});
