import { describe, expect, it } from "vitest";
import { Greedy } from "../../fixtures/greedy.mjs";
import { opened } from "../../support/opened.js";

const MIB = 1024 * 1024;

describe.each(["fork", "spawn"] as const)("limits by %s", (startMethod) => {
  async function failure(limits: object, ...items: string[]): Promise<any> {
    const settled = await opened(new Greedy(), { startMethod, limits, concurrency: 1 }).mapSettled([
      ...items,
      "little",
    ]);
    expect(settled.at(-1)).toEqual({ status: "fulfilled", value: "had enough" });
    return settled[0].status === "rejected" ? settled[0].reason : undefined;
  }

  it("do not affect an item that stays within them", async () => {
    expect(await failure({ memory: 500 * MIB, cpuSeconds: 20, openFiles: 200 })).toBeUndefined();
  });

  it("fail an item that requests more memory in one piece", async () => {
    const error = await failure({ memory: 150 * MIB }, "memory");
    expect(error).toMatchObject({ index: 0 });
  });

  it("end a child whose heap needs more memory, and name memory as the cause", async () => {
    const error = await failure({ memory: 150 * MIB }, "heap");
    expect(error).toMatchObject({ code: "ERR_PARALLEL_CHILD_DIED", index: 0 });
    if (startMethod === "fork") expect(error.probablyOutOfMemory).toBe(true);
    // On Node 22, V8 asks the kernel repeatedly before it gives up: this took 25 s on a busy machine.
  }, 120_000);

  it("end a child that uses more CPU time, and name the limit", async () => {
    const error = await failure({ cpuSeconds: 1 }, "cpu");
    expect(error).toMatchObject({ code: "ERR_PARALLEL_CHILD_DIED", signal: "SIGXCPU" });
    expect(error.message).toContain("its limit of 1 s of CPU time is used up");
  });

  it("fail an item that opens more files", async () => {
    expect(await failure({ openFiles: 60 }, "files")).toMatchObject({
      code: "ERR_PARALLEL_ITEM",
      cause: { code: "EMFILE" },
    });
  });
});
