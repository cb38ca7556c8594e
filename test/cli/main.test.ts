/** The conventions of the command line: help, usage errors, signals, a closed pipe. */
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { describe, expect, it, vi } from "vitest";
import { isAlive } from "../support/leftovers.js";
import { fixture, outputOf } from "../support/run-script.js";
import { PROMISED, SOON } from "../support/soon.js";
import { runCli, startCli, TEMPORARY } from "./run-cli.js";

const PROGRAM = fixture("conform/program.sh");

describe("forkmap", () => {
  it("prints its version and its help", async () => {
    const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
    expect(await runCli(["--version"])).toMatchObject({
      code: 0,
      stdout: `${version}\n`,
      stderr: "",
    });
    const help = await runCli(["--help"]);
    expect(help).toMatchObject({ code: 0, stderr: "" });
    expect(help.stdout).toMatch(/^Usage: forkmap <command>[\s\S]+\n {2}conform {2}check a program/);
    const ofCommand = await runCli(["conform", "--help"]);
    expect(ofCommand).toMatchObject({ code: 0, stderr: "" });
    expect(ofCommand.stdout).toMatch(/^Usage: forkmap conform \[options\] -- program/);
  });

  it.each([
    [[], "forkmap: no command given: expected conform, serve; see forkmap --help"],
    [
      ["conforn"],
      'forkmap: unknown command "conforn": expected conform, serve; see forkmap --help',
    ],
    [["conform"], "forkmap conform: expected a program after --, as in -- ruby worker.rb"],
    [["conform", "--"], "forkmap conform: expected a program after --"],
    [
      ["conform", "ruby", "a.rb"],
      "forkmap conform: expected the program after --, as in -- ruby a.rb",
    ],
    [["conform", "--colour", "--", "cat"], "forkmap conform: Unknown option '--colour'"],
    [["conform", "--item"], "forkmap conform: Option '--item <value>' argument missing"],
    [
      ["conform", "--item", "a", "--", "cat"],
      "forkmap conform: --item a is not JSON (a string needs quotes",
    ],
    [
      ["conform", "--timeout", "0", "--", "cat"],
      "forkmap conform: --timeout 0 is not a number of seconds",
    ],
    [
      ["conform", "--timeout", "x", "--", "cat"],
      "forkmap conform: --timeout x is not a number of seconds",
    ],
    [
      ["conform", "--timeout", "9e9", "--", "cat"],
      "forkmap conform: --timeout 9e9 is not a number of",
    ],
  ])("explains in one line what is wrong with %j", async (args, line) => {
    const { code, stdout, stderr } = await runCli(args);
    expect(stderr).toContain(line);
    expect(stderr.split("\n")).toHaveLength(2);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });
});

describe("forkmap conform, stopped while it waits for an answer", { timeout: 60_000 }, () => {
  /** Starts it with a program that never answers. */
  async function waiting() {
    const cli = startCli([
      "conform",
      "--timeout",
      "600",
      "--verbose",
      "--",
      "sh",
      PROGRAM,
      "hangs",
    ]);
    const ended = outputOf(cli);
    let stderr = "";
    cli.stderr!.on("data", (bytes: Buffer) => (stderr += bytes));
    // The second request comes after the processes that test the start have ended; its answer is awaited for up to 600 s.
    await vi.waitFor(() => expect(stderr.match(/^-> /gm)).toHaveLength(2), SOON);
    const last = () => Number(/.*^pid (\d+)\n/ms.exec(stderr)?.[1]);
    await vi.waitFor(() => expect(isAlive(last())).toBe(true), SOON);
    const pid = last();
    expect(scratchOf(cli.pid!)).toHaveLength(1);
    return { cli, pid, ended };
  }

  function scratchOf(pid: number): string[] {
    return readdirSync(TEMPORARY).filter((name) => name.startsWith(`forkmap-${pid}-`));
  }

  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("by %s: nothing remains", async (signal) => {
    const { cli, pid, ended } = await waiting();
    cli.kill(signal);
    const { stdout, ...end } = await ended;
    expect(end).toMatchObject({ code: null, signal });
    expect(stdout).toContain("ok    can be started\n");
    expect(scratchOf(cli.pid!)).toEqual([]);
    await vi.waitFor(() => expect(isAlive(pid)).toBe(false), PROMISED);
  });

  it("by SIGKILL: nothing remains after 2 s", async () => {
    const { cli, pid, ended } = await waiting();
    cli.kill("SIGKILL");
    await vi.waitFor(() => expect(isAlive(pid)).toBe(false), PROMISED);
    await vi.waitFor(() => expect(scratchOf(cli.pid!)).toEqual([]), PROMISED);
    expect(await ended).toMatchObject({ signal: "SIGKILL" });
  });
});

it("ends silently when its reader has gone", { timeout: 60_000 }, async () => {
  const cli = startCli(["conform", "--", "sh", PROGRAM]);
  const stderr = text(cli.stderr!);
  await once(cli.stdout!, "data");
  cli.stdout!.destroy();
  const [code, signal] = (await once(cli, "close")) as [number, string];
  expect({ code, signal, stderr: await stderr }).toEqual({ code: 141, signal: null, stderr: "" });
});
