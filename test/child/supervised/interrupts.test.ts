/** A child tells its stack whatever it does, and is none the worse for it. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import type { ParallelOptions } from "forkmap";
import { Interrupted } from "../../fixtures/supervised/interrupted.mjs";
import { opened } from "../../support/opened.js";
import { rejection } from "../../support/rejection.js";
import { SOON } from "../../support/soon.js";
import { Supervising } from "../../support/supervising.js";
import { temporaryDirectory } from "../../support/temporary.js";
import { StackUnavailable } from "../../../src/supervisor/stack-request.js";

/** More than a slow machine needs: where the stack can be had, it comes within 10 ms. */
const PATIENCE_MS = 15_000;

const WAYS: readonly {
  readonly name: string;
  readonly isPrepared?: boolean;
  readonly options: ParallelOptions<string, any>;
}[] = [
  { name: "forked", options: { pool: 1, startMethod: "fork" } },
  {
    name: "forked, prepared before the fork",
    isPrepared: true,
    options: { pool: 1, startMethod: "fork" },
  },
  { name: "spawned", options: { pool: 1, startMethod: "spawn" } },
];

describe.each(WAYS)("a child that is $name", ({ options, isPrepared }) => {
  /** Starts a child that does this. */
  async function begin(what: string, directory = temporaryDirectory()) {
    const supervising = await Supervising.in(directory);
    const parallel = opened(new Interrupted(directory, isPrepared), options);
    const result = parallel.mapProcesses([what]).then(([only]) => only);
    result.catch(() => {});
    const child = await Promise.race([supervising.child(), result.then(noChild)]);
    return { ...child, supervising, result, parallel };
  }

  it.each([
    [
      "spinning",
      /^ {4}at spinning \(.*interrupted\.mjs:\d+:\d+\)\n {4}at Interrupted\.process /,
      "spun",
    ],
    ["waiting", /^ {4}at Atomics\.wait .*\n {4}at waiting /, "waited"],
    ["deep", /^ {4}at spinning .*\n( {4}at deeper .*\n){100,199}$/, "spun"],
    ["parsing", /(^|\n) {4}at parsing /, 200_000],
    ["matching", /(^|\n) {4}at matching /, false],
  ])("tells its stack 100 times while it is %s", async (what, expected, result) => {
    const child = await begin(what);
    const stacks: string[] = [];
    for (let time = 0; time < 100; time += 1) {
      const { stack, state, after } = await child.stacks.ask(PATIENCE_MS);
      stacks.push(stack);
      expect(state).toEqual({ item: what });
      expect(after).toBeGreaterThanOrEqual(0);
    }
    expect(stacks.filter((stack) => !/^ {4}at /.test(stack))).toEqual([]);
    // At other times, it looks whether it is to end.
    const fitting = stacks.filter((stack) => expected.test(stack));
    expect(fitting.length, stacks[50]).toBeGreaterThan(50);
    child.supervising.done();
    expect(await child.result).toBe(result);
  });

  it("is said to be idle if it is, and goes on", async () => {
    const child = await begin("idle");
    // It runs now and then.
    const error = await vi.waitFor(() => rejection(child.stacks.ask(PATIENCE_MS)), SOON);
    expect(error).toBeInstanceOf(StackUnavailable);
    expect(error).toMatchObject({ name: "StackUnavailable", isIdle: true });
    expect(error.message).toMatch(/^the thread waits for events/);
    child.supervising.done();
    expect(await child.result).toBe("idled");
  });

  it("is said to be in the kernel if it is; later, the next question is answered", async () => {
    const directory = temporaryDirectory();
    execFileSync("mkfifo", [`${directory}/fifo`]);
    const child = await begin("native", directory);
    // It may not have come there yet.
    const error = await vi.waitFor(() => rejection(child.stacks.ask(500)), SOON);
    expect(error).toBeInstanceOf(StackUnavailable);
    expect(error.message).toMatch(
      /^the thread is in a native call, or waits in the kernel: its stack could not be had within 500 ms: thread \d+ \(.*\) waits in \w+$/,
    );
    expect(error.threads[0]).toMatchObject({ tid: child.pid, state: "S" });
    expect(error.threads.length).toBeGreaterThan(1);
    const second = child.stacks.ask(PATIENCE_MS);
    writeFileSync(`${directory}/fifo`, "!");
    const { stack, after } = await second;
    expect(stack).toMatch(/at (Object\.)?native /);
    expect(after).toBeLessThan(PATIENCE_MS);
    await vi.waitFor(
      async () => expect((await child.stacks.ask(PATIENCE_MS)).stack).toMatch(/at spinning /),
      SOON,
    );
    child.supervising.done();
    expect(await child.result).toBe("!spun");
  });

  it("does not run what libraries do with stacks", async () => {
    const child = await begin("hooked");
    for (let time = 0; time < 20; time += 1)
      expect((await child.stacks.ask(PATIENCE_MS)).stack).toMatch(/^ {4}at /);
    child.supervising.done();
    expect(await child.result).toEqual(["spun", 0, true]);
  });

  it.each(["overflowing", "limited"])(
    "survives questions while it is %s, and still answers",
    async (what) => {
      const child = await begin(what);
      const end = performance.now() + 1500;
      let answers = 0;
      while (performance.now() < end) {
        await sleep(0);
        await child.stacks.ask(PATIENCE_MS).then(
          () => (answers += 1),
          (error: unknown) => expect(error).toBeInstanceOf(StackUnavailable),
        );
      }
      expect(answers).toBeGreaterThan(0);
      child.supervising.done();
      expect(await child.result).toBe(true);
    },
  );

  it("goes on without its supervisor, with no thread, no descriptor and no work", async () => {
    const child = await begin("lonely");
    expect(child.stacks.isOpen).toBe(true);
    child.stacks.close();
    const { cpuMs, left, text } = await child.result;
    expect(text).toBe(499_999_500_000);
    expect(left).toBe(0);
    expect(cpuMs).toBeLessThan(100);
    const error = await rejection(child.stacks.ask(100));
    expect(error.message).toBe("the child cannot be interrupted any more");
  });

  it("leaves nothing behind when it opens and closes again and again", async () => {
    const directory = temporaryDirectory();
    const supervising = await Supervising.in(directory);
    let count = 0;
    supervising.each(({ socket }) => {
      // The first is closed at once; then every other one waits for the end.
      if (count % 2 === 0 && count > 0) socket.destroy();
      count += 1;
    });
    const parallel = opened(new Interrupted(directory, isPrepared), options);
    const [counts] = await parallel.mapProcesses(["cycles"]);
    const [first, ...others] = counts as { fds: number; tasks: number; kib: number }[];
    expect(others).toHaveLength(2);
    // V8's heap grows by some MiB until it is collected; 1000 cycles with collections cost nothing.
    for (const { fds, tasks } of others)
      expect({ fds, tasks }).toEqual({ fds: first!.fds, tasks: first!.tasks });
    expect(others.at(-1)!.kib - others[0]!.kib).toBeLessThan(8192);
    expect(count).toBe(211);
  });

  it("keeps the connection from the programs that it starts", async () => {
    const child = await begin("spawns");
    const { mine, shared } = await child.result;
    expect(mine).toBeGreaterThan(0);
    expect(shared).toBe(0);
  });

  it("cuts what is too long, and never waits for a supervisor that does not read", async () => {
    const child = await begin("large");
    // It may not have come to its depth yet.
    await vi.waitFor(async () => {
      const { stack } = await child.stacks.ask(PATIENCE_MS);
      expect(stack.length).toBeGreaterThan(50_000);
    }, SOON);
    child.socket.pause();
    // Nobody reads their answers.
    for (let time = 0; time < 10; time += 1) {
      child.socket.write("?");
      await sleep(20);
    }
    child.supervising.done();
    expect(await child.result).toBe("spun");
  });

  it("ends as it would while it is asked", async () => {
    const child = await begin("exits");
    let isOver = false;
    void child.result.catch(() => {}).then(() => (isOver = true));
    while (!isOver && child.stacks.isOpen) await child.stacks.ask(PATIENCE_MS).catch(() => {});
    expect((await rejection(child.result)).message).toMatch(/exit/);
  });

  it("finds its supervisor in a directory with a long name", async () => {
    const directory = `${temporaryDirectory()}/${"d".repeat(100)}`;
    mkdirSync(directory);
    const child = await begin("spinning", directory);
    // It may not have come to its loop yet.
    await vi.waitFor(
      async () => expect((await child.stacks.ask(PATIENCE_MS)).stack).toMatch(/at spinning /),
      SOON,
    );
    child.supervising.done();
    expect(await child.result).toBe("spun");
  });

  it("says why it cannot be interrupted", async () => {
    const directory = temporaryDirectory();
    const parallel = opened(new Interrupted(directory, isPrepared), options);
    const error = await rejection(parallel.mapProcesses(["spinning"]));
    expect(error.message).toMatch(/connect to .*socket failed \(errno 2\)/);
  });

  it("tells the stacks of its workers, if its main thread is not blocked", async () => {
    const child = await begin("threads");
    const { dump, ms, again, code, after } = await child.result;
    const threads = Object.fromEntries(dump.threads.map((each: any) => [each.name, each]));
    expect(threads["main"]).toMatchObject({ id: 0, state: "idle", resources: expect.anything() });
    expect(threads["turning"]).toMatchObject({ state: "running" });
    expect(threads["turning"].stack).toMatch(/^ {4}at (Object\.)?turning /);
    expect(threads["sleeping"].stack).toMatch(
      /^ {4}at Atomics\.wait .*\n {4}at (Object\.)?sleeping /,
    );
    expect(threads["native"]).toEqual({
      id: expect.any(Number),
      name: "native",
      state: "unknown",
      reason: "the thread is in a native call: its stack could not be had within 1000 ms",
    });
    expect(threads["resting"]).toMatchObject({ state: "idle", resources: { Timeout: 1 } });
    expect(threads["resting"].stack).toBeUndefined();
    expect(ms).toBeLessThan(10_000);
    expect(again.threads).toHaveLength(6);
    expect(code).toBe(5);
    expect(after.threads).toHaveLength(1);
  });

  it("cannot tell the stacks of its workers while its main thread is blocked, and that is said", async () => {
    const child = await begin("blockedWithThreads");
    await expect
      .poll(() => child.stacks.dumpBlocked(PATIENCE_MS).catch(() => undefined), {
        timeout: PATIENCE_MS,
      })
      .toMatchObject({
        threads: [
          { id: 0, name: "main", state: "blocked", stack: expect.stringMatching(/at spinning /) },
        ],
        reason: expect.stringMatching(/^the stacks of worker threads cannot be had/),
      });
    child.supervising.done();
    expect(await child.result).toBe("spun");
  });
});

function noChild(): never {
  throw new Error("The item is done, and no child has connected");
}
