/** A child is a process like any other: its pids, its title, its listeners, its output and its ways to end. */
import { existsSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync } from "node:fs";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fixture, runScript } from "../../support/run-script.js";

interface Told {
  readonly value?: unknown;
  readonly error?: string;
  readonly exitCode?: number;
  readonly signal?: string;
  readonly cause?: string;
}

describe.each(["fork", "spawn"])("a child made by %s", (startMethod) => {
  let directory: string;
  let log: string;
  let env: Record<string, string>;

  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), "process-in-child-"));
    log = path.join(directory, "log");
    env = { FORKMAP_TEST_LOG: log, FORKMAP_TEST_OUT: path.join(directory, "out") };
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  async function run(...items: string[]) {
    const { code, stdout, stderr } = await runScript(fixture("process-run.mjs"), {
      args: [startMethod, ...items],
      env,
    });
    expect(code, stderr).toBe(0);
    const { told, pid: programPid } = JSON.parse(
      readFileSync(env["FORKMAP_TEST_OUT"]!, "utf8"),
    ) as { told: Told[]; pid: number };
    return { told, first: told[0]!, programPid, stdout, stderr };
  }

  function logged(): string[] {
    return existsSync(log) ? readFileSync(log, "utf8").trimEnd().split("\n") : [];
  }

  test("has the pid that the system gives it, and the program as its parent", async () => {
    const { told, programPid } = await run("ids", "ids");
    for (const { value } of told) {
      const { pid, ppid, seen } = value as { pid: number; ppid: number; seen: { pid: number } };
      expect(seen.pid).toBe(pid);
      // A forked child's parent is the fork server.
      if (startMethod === "spawn") expect(seen).toEqual({ pid, ppid });
      expect(ppid).toBe(programPid);
    }
    const [one, other] = told.map(({ value }) => (value as { pid: number }).pid);
    expect(one).not.toBe(other);
  });

  test("shows its item in ps", async () => {
    const { told } = await run("listener", "title");
    expect(told[1]!.value).toEqual({
      title: "forkmap Probe num 0 item 1",
      commandLine: "forkmap Probe num 0 item 1",
    });
  });

  test("process.exit ends it with its code, immediately and later", async () => {
    const { told } = await run("exit", "exitLater");
    expect(told.map(({ exitCode }) => exitCode)).toEqual([4, 5]);
    expect(told[0]!.error).toMatch(
      /^Item 0 called process\.exit\(4\) before it had a result \(num 0, pid \d+\)$/,
    );
  });

  test("process.exitCode is used when the event loop is empty", async () => {
    const { first } = await run("exitCode");
    expect(first.error).toMatch(/^Item 0 never settled/);
  });

  test.each([
    ["uncaught", "nobody catches this"],
    ["unhandled", "nobody handles this"],
  ])("an error that is %s ends it with code 1 and is shown on stderr", async (what, message) => {
    const { first, stderr } = await run(what);
    expect(first).toMatchObject({ exitCode: 1, cause: message });
    expect(first.error).toContain(`RangeError: ${message}`);
    expect(stderr).toContain(`RangeError: ${message}`);
    expect(stderr).toContain("process-in-child.mjs");
  });

  test("runs its own exit listeners once", async () => {
    const { first } = await run("listener");
    expect(first.value).toBe("done");
    expect(logged().filter((line) => line.startsWith("listener of the child"))).toEqual([
      "listener of the child ran with 0",
    ]);
  });

  test("runs its own exit listeners once on process.exit", async () => {
    const { first } = await run("listenerAndExit");
    expect(first.exitCode).toBe(8);
    expect(logged().filter((line) => line.startsWith("listener of the child"))).toEqual([
      "listener of the child ran with 8",
    ]);
  });

  test("runs the exit listeners of the module", async () => {
    await run("ids", "exit", "ids", "uncaught");
    const ran = logged().filter((line) => line.startsWith("module-level"));
    expect(ran.filter((line) => line.endsWith("child"))).toHaveLength(4);
    // Once in the program itself, which has loaded the module as well, and once in the fork server.
    expect(ran).toHaveLength(startMethod === "fork" ? 6 : 5);
  });

  test("can handle SIGTERM, or ends by it", async () => {
    const { told } = await run("sigterm", "sigtermByDefault");
    expect(told[0]!.value).toBe("wound up");
    expect(told[1]!.signal).toBe("SIGTERM");
  });

  const printed = new RegExp(
    `^printed first\n${"x".repeat(1000)}x{99000}\nprinted last\nprinted before exit\n$`,
  );

  test("writes into a pipe, to the last byte", async () => {
    const { stdout, stderr } = await run("prints", "printsAndExits");
    expect(stdout).toMatch(printed);
    expect(stderr).toContain("printed on stderr");
  });

  test("writes into a file, to the last byte", async () => {
    const file = path.join(directory, "stdout");
    const fd = openSync(file, "w");
    const script = spawn(
      process.execPath,
      [fixture("process-run.mjs"), startMethod, "prints", "printsAndExits"],
      {
        stdio: ["ignore", fd, "ignore"],
        env: { ...process.env, ...env },
      },
    );
    closeSync(fd);
    const [code] = (await once(script, "close")) as [number];
    expect(code).toBe(0);
    expect(readFileSync(file, "utf8")).toMatch(printed);
  });
});
