/** Errors that an item leaves behind: of a child with one item they are its own, in a pool an earlier item's perhaps. */
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

  it("one that is handled in time, or listened to, costs nothing", async () => {
    const items = ["handled", "async handled a moment later", "listened to", "plain", "async"];
    expect(await opened(new Leaves(), { startMethod }).mapProcesses(items)).toEqual(items);
  });

  it("Node's own option says what becomes of it", async () => {
    const execArgv = ["--unhandled-rejections=none"];
    const parallel = opened(new Leaves(), { startMethod, execArgv });
    expect(await parallel.mapProcesses(["rejection"])).toEqual(["rejection"]);
  });

  it.each([
    ["late rejection", "ended by an uncaught error, its own or one that an earlier item"],
    ["late throw", "ended by an uncaught error, its own or one that an earlier item"],
    ["late exit", "called process.exit(3) before it had a result, or code that an earlier item"],
  ])(
    "%s in a pool: the item that is hit is told that it need not be its own",
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
