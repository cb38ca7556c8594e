/** Errors that an item leaves behind: with one item per child the item's own, in a pool possibly an earlier item's. */
import { DeadChildError } from "forkmap";
import { describe, expect, it } from "vitest";
import { Leaves } from "../fixtures/leaves.mjs";
import { opened } from "../support/opened.js";

describe.each(["fork", "spawn"] as const)("by %s", (startMethod) => {
  it.each(["rejection", "async rejection"])(
    "%s: the item fails, as a program would",
    async (what) => {
      const parallel = opened(new Leaves(), { startMethod });
      const [settled] = await parallel.mapSettled([what]);
      const { reason } = settled as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(DeadChildError);
      expect(reason).toMatchObject({ exitCode: 1, cause: { message: "left behind" } });
      expect(reason.message).toMatch(/^Item 0 ended by an uncaught error: Error: left behind \(/);
    },
  );

  it("an error that is handled in time, or has a listener, does not fail the item", async () => {
    const items = ["handled", "async handled a moment later", "listened to", "plain", "async"];
    expect(await opened(new Leaves(), { startMethod }).mapProcesses(items)).toEqual(items);
  });

  it("Node's option decides how a rejection is handled", async () => {
    const execArgv = ["--unhandled-rejections=none"];
    const parallel = opened(new Leaves(), { startMethod, execArgv });
    expect(await parallel.mapProcesses(["rejection"])).toEqual(["rejection"]);
  });

  it.each([
    ["late rejection", "ended by an uncaught error, its own or one that an earlier item"],
    ["late throw", "ended by an uncaught error, its own or one that an earlier item"],
    ["late exit", "called process.exit(3) before it had a result, or code that an earlier item"],
  ])(
    "%s in a pool: the failed item's error says that an earlier item may be the cause",
    async (what, words) => {
      const parallel = opened(new Leaves(), { startMethod, pool: 1 });
      const [first, second] = await parallel.mapSettled([what, "waits"]);
      expect(first).toEqual({ status: "fulfilled", value: what });
      const { reason } = second as PromiseRejectedResult;
      expect(reason).toBeInstanceOf(DeadChildError);
      expect(reason.message).toContain(`Item 1 ${words} of its child left behind`);
    },
  );
});
