/** A controller, in programs that get signals as from a terminal or a supervisor. */
import { isDeepStrictEqual } from "node:util";
import { Controller } from "forkmap/container";
import { describe, expect, test, vi } from "vitest";
import { Controlled } from "../support/controlled.js";
import { isAlive } from "../support/leftovers.js";
import { Client } from "../support/serving.js";
import { SOON } from "../support/soon.js";

const READY = "forkmap: 2 of 2 instances ready";
const pidsOf = (seen: readonly { pid: number }[]) => seen.map(({ pid }) => pid);
/** An instance that asks for more time than the test has. */
const NEVER_DRAINS = { controller: { graceful: 600_000 } };
const LEFT_NOTHING = { container: "gone", listeners: [0, 0, 0, 0] };

describe("SIGHUP", () => {
  test("restarts blue-green, with the code that is on disk now and the same nums", async () => {
    const program = await Controlled.ready();
    const before = await program.all();
    expect(before).toMatchObject([
      { version: "first", num: 0 },
      { version: "first", num: 1 },
    ]);
    program.edit('"first"', '"second"');
    program.kill("SIGHUP");
    await program.until(() => program.count(READY) === 2);
    const after = await program.all(2, ({ version }) => version === "second");
    expect(after).toMatchObject([{ num: 0 }, { num: 1 }]);
    await vi.waitFor(() => expect(pidsOf(before).filter(isAlive)).toEqual([]), SOON);
    expect((await program.all()).map(({ version }) => version)).toEqual(["second", "second"]);
    expect(program.facts.map(({ setups }) => setups)).toEqual([1, 2]);
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.facts.slice(2)).toEqual([{ ended: "returned" }, LEFT_NOTHING]);
  });

  test.each([
    ["whose module has an error", 'import http from "node:http";', "import http from;"],
    ["whose service throws", "await instance.serve(server);", 'throw new Error("broken");'],
    [
      "whose service ends by itself before it is ready",
      "await instance.serve(server);",
      "process.exit(3);",
    ],
  ])("with a new set %s leaves the old one serving", async (_, from, to) => {
    const program = await Controlled.ready();
    const before = await program.all();
    program.edit(from, to);
    program.kill("SIGHUP");
    await program.until(() => program.stderr.includes("FORKMAP_RESTART"));
    expect(program.stderr).toContain("forkmap: The restart failed: ");
    expect(program.stderr).toContain("what ran before goes on");
    expect(await program.all()).toEqual(before);
    // A set that is whole again replaces it.
    program.edit(to, from);
    program.kill("SIGHUP");
    await program.until(() => program.count(READY) >= 2);
    await program.all(2, ({ pid }) => !pidsOf(before).includes(pid));
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test("with a setup that throws leaves the old set serving", async () => {
    const program = await Controlled.ready({ throwsAt: [2] });
    const before = await program.all();
    program.kill("SIGHUP");
    await program.until(() => program.stderr.includes("The restart failed: setup 2 has failed"));
    expect(await program.all()).toEqual(before);
    program.kill("SIGHUP");
    await program.until(() => program.count(READY) >= 2);
    await program.all(2, ({ pid }) => !pidsOf(before).includes(pid));
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test("with a new set that is not ready in time leaves the old one serving", async () => {
    const program = await Controlled.ready({ run: { startupTimeout: 3000 } });
    const before = await program.all();
    program.edit(
      "await instance.serve(server);",
      "await new Promise(() => setInterval(() => {}, 1e6));",
    );
    program.kill("SIGHUP");
    await program.until(() => program.stderr.includes("FORKMAP_RESTART"));
    expect(program.stderr).toContain("not ready after 3000 ms");
    expect(await program.all()).toEqual(before);
  });

  test("in the middle of SIGHUP: the last one counts, and one set is left", async () => {
    const program = await Controlled.ready();
    const before = await program.all();
    program.edit("const VERSION", "await sleep(700);\nconst VERSION");
    program.kill("SIGHUP");
    await program.until(() => program.facts.length === 2);
    program.edit('"first"', '"second"');
    program.kill("SIGHUP");
    await program.until(() => program.count(READY) >= 2);
    await program.all(2, ({ version }) => version === "second");
    await vi.waitFor(() => expect(pidsOf(before).filter(isAlive)).toEqual([]), SOON);
    const seen = await program.all();
    expect(seen.map(({ version }) => version)).toEqual(["second", "second"]);
    expect(program.stderr).not.toContain("FORKMAP_RESTART");
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test("and requests all the time: none fails", async () => {
    const program = await Controlled.ready();
    let isOver = false;
    const asking = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!isOver) await program.ask();
      }),
    );
    for (let i = 2; i <= 4; i += 1) {
      program.kill("SIGHUP");
      await program.until(() => program.count(READY) === i);
    }
    isOver = true;
    await asking;
  });
});

describe("SIGUSR2", () => {
  test("restarts one instance after the other, with the code that is on disk now", async () => {
    const program = await Controlled.ready();
    const before = await program.all();
    program.edit('"first"', '"second"');
    program.kill("SIGUSR2");
    const after = await program.all(2, ({ version }) => version === "second");
    expect(after).toMatchObject([
      { num: 0, generation: 2 },
      { num: 1, generation: 2 },
    ]);
    await vi.waitFor(() => expect(pidsOf(before).filter(isAlive)).toEqual([]), SOON);
    expect(program.stderr).toContain("forkmap: Restarting one after the other\n");
    // The setup is not called again.
    expect(program.facts).toHaveLength(1);
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test("with a module that has an error leaves all as they are", async () => {
    const program = await Controlled.ready();
    const before = await program.all();
    program.edit('"first"', "(");
    program.kill("SIGUSR2");
    await program.until(() => program.stderr.includes("FORKMAP_RESTART"));
    expect(await program.all()).toEqual(before);
  });

  test("with a service that fails stops at the first, which gets a child as before", async () => {
    const program = await Controlled.ready();
    const [, other] = await program.all();
    program.edit("await instance.serve(server);", 'throw new Error("broken");');
    program.kill("SIGUSR2");
    await program.until(() => program.stderr.includes("FORKMAP_RESTART"));
    const [first, second] = await program.all();
    expect(first).toMatchObject({ num: 0, version: "first" });
    expect(second).toEqual(other);
  });
});

describe.each(["SIGTERM", "SIGINT"] as const)("%s", (signal) => {
  test("stops gracefully: what is in flight is answered", async () => {
    const program = await Controlled.ready();
    const client = (await Client.connect(program.address)).get("/slow/1000");
    await program.all();
    program.kill(signal);
    await program.until(() => program.stderr.includes("forkmap: Stopping\n"));
    await client.until('"version":"first"');
    await client.ended();
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.stderr.endsWith("forkmap: Stopped\n")).toBe(true);
    expect(program.facts.slice(1)).toEqual([{ ended: "returned" }, LEFT_NOTHING]);
  });

  test("a second time stops at once", async () => {
    const program = await Controlled.ready(NEVER_DRAINS);
    const pids = pidsOf(await program.all());
    const client = (await Client.connect(program.address)).get("/slow/600000");
    await program.all();
    program.kill(signal);
    await program.until(() => program.stderr.includes("forkmap: Stopping\n"));
    await vi.waitUntil(() => pids.filter(isAlive).length === 1, SOON);
    expect(client.isClosed).toBe(false);
    program.kill(signal);
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(pids.filter(isAlive)).toEqual([]);
    expect(client.received).toBe("");
  });

  test("in the middle of a restart: neither set is left", async () => {
    const program = await Controlled.ready();
    const pids = pidsOf(await program.all());
    program.edit("const VERSION", "await sleep(600_000);\nconst VERSION");
    program.kill("SIGHUP");
    await program.until(() => program.facts.length === 2);
    program.kill(signal);
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(pids.filter(isAlive)).toEqual([]);
    expect(program.stderr).not.toContain("FORKMAP_RESTART");
    expect(program.facts.slice(2)).toEqual([{ ended: "returned" }, LEFT_NOTHING]);
  });

  test("while the instances of a new set are starting", async () => {
    const program = await Controlled.ready();
    program.edit("await instance.serve(server);", "await sleep(600_000);");
    program.kill("SIGHUP");
    await program.until(() => program.facts.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 500));
    program.kill(signal);
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test("in the middle of a rolling restart", async () => {
    const program = await Controlled.ready();
    program.edit("await instance.serve(server);", "await sleep(600_000);");
    program.kill("SIGUSR2");
    await program.until(() => program.stderr.includes("Restarting one after the other"));
    await vi.waitUntil(() => program.stderr.includes("1 of 2 instances ready"), SOON);
    program.kill(signal);
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.stderr).not.toContain("FORKMAP_RESTART");
  });

  test("while it starts", async () => {
    const program = new Controlled();
    program.edit("await instance.serve(server);", "await sleep(600_000);");
    await program.until(() => program.facts.length === 1);
    program.kill(signal);
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.facts.slice(1)).toEqual([{ ended: "returned" }, LEFT_NOTHING]);
  });
});

describe("run", () => {
  test("rejects with what the setup threw the first time", async () => {
    const program = new Controlled({ throwsAt: [1] });
    expect(await program.ended).toEqual({ code: 1, signal: null });
    expect(program.facts.slice(1)).toEqual([
      { ended: "rejected", message: "setup 1 has failed" },
      LEFT_NOTHING,
    ]);
    expect(program.stderr).toContain("forkmap: Failed: setup 1 has failed\n");
  });

  test("returns when all instances have ended by themselves", async () => {
    const program = await Controlled.ready();
    const [one] = await program.all();
    for (let left = 2; left > 0; left -= 1) {
      // It may be any of them.
      await expect(program.ask("/exit/0")).rejects.toThrow();
    }
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(isAlive(one!.pid)).toBe(false);
    expect(program.facts.slice(1)).toEqual([{ ended: "returned" }, LEFT_NOTHING]);
  });

  test("rejects when an instance is given up", async () => {
    const program = await Controlled.ready({
      count: 1,
      run: {
        restart: "on-failure",
        intensity: { restarts: 2, within: 600_000 },
        backoff: { min: 1, max: 1 },
      },
    }).catch((error: unknown) => Promise.reject(error));
    for (let i = 0; i < 3; i += 1) await expect(program.ask("/exit/3")).rejects.toThrow();
    expect(await program.ended).toEqual({ code: 1, signal: null });
    expect(program.facts.slice(1)).toEqual([
      {
        ended: "rejected",
        code: "ERR_PARALLEL_INSTANCE",
        message: "Site num 0 is given up: it ended (exit code 3)",
      },
      LEFT_NOTHING,
    ]);
  });

  test("goes on while other instances live, when one is given up", async () => {
    const program = await Controlled.ready();
    await expect(program.ask("/exit/3")).rejects.toThrow();
    await program.until(() => program.stderr.includes("forkmap: 1 of 1 instances ready"));
    await program.ask();
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test("calls the program's own listeners of signals too, and leaves them as they were", async () => {
    const program = await Controlled.ready({ listens: true });
    for (const signal of ["SIGHUP", "SIGUSR2", "SIGINT"] as const) {
      program.kill(signal);
      await program.until(() =>
        program.facts.some((fact) => isDeepStrictEqual(fact, { heard: signal })),
      );
    }
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.facts.at(-1)).toEqual({ container: "gone", listeners: [1, 1, 1, 1] });
  });

  test("can be called again after it has returned, but not meanwhile", async () => {
    const program = await Controlled.ready({ calls: ["again"] });
    expect(await program.call("run again")).toMatchObject({
      name: "Error",
      message: "This controller runs already",
    });
    program.kill("SIGTERM");
    await program.until(() => program.count(READY) === 2);
    expect(program.facts).toMatchObject([{ setups: 1 }, { ended: "returned" }, { setups: 2 }]);
    const { address } = program.facts[2] as { address: { host: string; port: number } };
    await (await Client.connect(address)).get("/", "Connection: close\r\n").until('"num"');
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
    expect(program.facts.slice(3)).toEqual([{ ended: "returned again" }, LEFT_NOTHING]);
  });

  test("a program that is killed leaves nothing", async () => {
    const program = await Controlled.ready();
    const pids = pidsOf(await program.all());
    program.kill("SIGKILL");
    await program.ended;
    await vi.waitFor(() => expect(pids.filter(isAlive)).toEqual([]), SOON);
  });
});

describe("its methods", () => {
  test("restart: resolves once only the new set is left, rejects if it fails", async () => {
    const program = await Controlled.ready({ throwsAt: [3] });
    const before = pidsOf(await program.all());
    expect(await program.call("restart")).toEqual({ method: "restart" });
    expect(before.filter(isAlive)).toEqual([]);
    await program.all();
    expect(await program.call("restart")).toMatchObject({ message: "setup 3 has failed" });
    await program.all();
  });

  test("restartRolling: resolves once all are replaced", async () => {
    const program = await Controlled.ready();
    const before = pidsOf(await program.all());
    expect(await program.call("restartRolling", { maxUnavailable: 2 })).toEqual({
      method: "restartRolling",
    });
    expect(before.filter(isAlive)).toEqual([]);
    expect(await program.call("restartRolling", { maxUnavailable: 0 })).toMatchObject({
      name: "TypeError",
      message: expect.stringContaining("maxUnavailable"),
    });
    const after = await program.all();
    expect(after).toMatchObject([{ generation: 2 }, { generation: 2 }]);
  });

  test("stop, with a grace, and a wrong one", async () => {
    const program = await Controlled.ready(NEVER_DRAINS);
    (await Client.connect(program.address)).get("/slow/600000");
    await program.all();
    expect(await program.call("stop", "soon")).toMatchObject({
      name: "TypeError",
      message: expect.stringContaining("graceful"),
    });
    await program.all();
    program.process.send({ method: "stop", args: [800] });
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test("before `run` they say that it is not running; wrong options are TypeErrors", async () => {
    const controller = new Controller(() => {});
    expect(controller.container).toBeUndefined();
    const message = "The controller is not running";
    await expect(controller.restart()).rejects.toMatchObject({ name: "ClosedError", message });
    await expect(controller.restartRolling()).rejects.toMatchObject({ message });
    await controller.stop();
    // @ts-expect-error
    expect(() => new Controller()).toThrow("Expected a function (container) => void");
    // @ts-expect-error
    expect(() => new Controller(() => {}, { gracefull: 1 })).toThrow(
      "Unknown option `gracefull` of Controller",
    );
    expect(() => new Controller(() => {}, { graceful: -1 })).toThrow("graceful");
  });
});
