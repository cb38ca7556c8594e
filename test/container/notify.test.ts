/** What a program of a controller tells of itself: to systemd, to a container that runs it, to a file, or to the terminal. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { CommandService } from "forkmap/container";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Controlled } from "../support/controlled.js";
import { fixture } from "../support/run-script.js";
import { addressOf, ANY, contained, whoami } from "../support/serving.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

let receiver: ChildProcess | undefined;

afterEach(() => {
  receiver?.kill("SIGKILL");
  receiver = undefined;
});

/** Binds a socket of datagrams; `texts` is what it receives. */
async function receive(address: string): Promise<string[]> {
  receiver = spawn("python3", [fixture("serving/receives.py"), address], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const texts = linesOf(receiver.stdout!);
  await vi.waitFor(() => expect(texts.shift()).toBe("bound"), SOON);
  return texts as string[];
}

/** The values in lines of JSON. */
function linesOf(stream: Readable): unknown[] {
  const values: unknown[] = [];
  let rest = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    values.push(...lines.map((line) => JSON.parse(line) as unknown));
  });
  return values;
}

const READY = "READY=1\nSTATUS=2 of 2 instances ready";
const FAILED = /^READY=1\nSTATUS=The restart failed: setup 3 has failed$/;

describe("NOTIFY_SOCKET", () => {
  test.each([
    ["a path", (folder: string) => `${folder}/notify`],
    ["an abstract address", (folder: string) => `@forkmap${folder}`],
  ])("%s: systemd's protocol", async (_, name) => {
    const address = name(temporaryDirectory());
    const texts = await receive(address);
    const has = (text: string | RegExp) => () =>
      texts.some((each) => (typeof text === "string" ? each === text : text.test(each)));
    const program = new Controlled({ throwsAt: [3] }, { env: { NOTIFY_SOCKET: address } });
    await vi.waitUntil(has(READY), SOON);
    expect(texts[0]).toBe("STATUS=Starting");
    await program.all();

    texts.length = 0;
    const before = process.hrtime.bigint() / 1000n;
    program.kill("SIGHUP");
    await vi.waitUntil(has(READY), SOON);
    const [, usec] = /^RELOADING=1\nMONOTONIC_USEC=(\d+)\nSTATUS=Restarting$/.exec(texts[0]!)!;
    // As this process reads the same clock.
    expect(BigInt(usec!) - before).toBeGreaterThanOrEqual(0n);
    expect(process.hrtime.bigint() / 1000n - BigInt(usec!)).toBeGreaterThan(0n);

    texts.length = 0;
    program.kill("SIGHUP");
    await vi.waitUntil(has(FAILED), SOON);
    expect(texts[0]).toMatch(/^RELOADING=1\n/);

    texts.length = 0;
    program.kill("SIGUSR2");
    await vi.waitUntil(has(READY), SOON);
    expect(texts[0]).toMatch(
      /^RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=Restarting one after the other$/,
    );
    expect(texts).toContain("STATUS=1 of 2 instances ready");

    texts.length = 0;
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
    await vi.waitUntil(has("STATUS=Stopped"), SOON);
    expect(texts).toEqual(["STOPPING=1\nSTATUS=Stopping", "STATUS=Stopped"]);
    // Nothing but warnings of what failed.
    expect(program.stderr).not.toContain("forkmap: ");
  });

  test("the watchdog hears of it twice as often as it asks for", async () => {
    const address = `${temporaryDirectory()}/notify`;
    const texts = await receive(address);
    const env = { NOTIFY_SOCKET: address, WATCHDOG_USEC: "400000" };
    const program = new Controlled({}, { env });
    await vi.waitUntil(() => texts.includes(READY), SOON);
    texts.length = 0;
    await vi.waitUntil(() => texts.length >= 5, SOON);
    expect(new Set(texts)).toEqual(new Set(["WATCHDOG=1"]));
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test("a watchdog of another process hears nothing", async () => {
    const address = `${temporaryDirectory()}/notify`;
    const texts = await receive(address);
    const env = { NOTIFY_SOCKET: address, WATCHDOG_USEC: "20000", WATCHDOG_PID: "1" };
    const program = new Controlled({}, { env });
    await vi.waitUntil(() => texts.includes(READY), SOON);
    program.kill("SIGTERM");
    await program.ended;
    expect(texts).not.toContain("WATCHDOG=1");
  });

  test("where nobody is: a warning says so, and the terminal is told", async () => {
    const address = `${temporaryDirectory()}/nobody`;
    const program = await Controlled.ready({}, { env: { NOTIFY_SOCKET: address } });
    expect(program.stderr).toContain(
      `The socket of NOTIFY_SOCKET (${address}) could not be opened (ENOENT)`,
    );
    expect(program.stderr).toContain("forkmap: Starting\n");
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });

  test("whose other end goes away: the program goes on", async () => {
    const address = `${temporaryDirectory()}/notify`;
    const texts = await receive(address);
    const program = new Controlled({}, { env: { NOTIFY_SOCKET: address } });
    await vi.waitUntil(() => texts.includes(READY), SOON);
    receiver!.kill("SIGKILL");
    program.kill("SIGHUP");
    await program.until(() => program.stderr.includes("FORKMAP_NOTIFY"));
    await program.all();
    program.kill("SIGTERM");
    expect(await program.ended).toEqual({ code: 0, signal: null });
  });
});

test("NOTIFY_LOG: lines of JSON are appended to the file", async () => {
  const file = `${temporaryDirectory()}/log`;
  const lines = () =>
    readFileSync(file, "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as object);
  const program = new Controlled({}, { env: { NOTIFY_LOG: file } });
  const ready = { ready: true, size: 2, status: "2 of 2 instances ready" };
  await vi.waitFor(() => expect(lines()).toContainEqual(expect.objectContaining(ready)), SOON);
  program.kill("SIGHUP");
  await vi.waitFor(() => expect(lines().filter((each) => "ready" in each)).toHaveLength(2), SOON);
  program.kill("SIGTERM");
  expect(await program.ended).toEqual({ code: 0, signal: null });
  const told = lines();
  expect(told[0]).toMatchObject({ status: "Starting" });
  expect(told).toContainEqual(expect.objectContaining({ reloading: true, status: "Restarting" }));
  expect(told.slice(-2)).toMatchObject([{ stopping: true }, { status: "Stopped" }]);
  for (const { time } of told as { time: string }[]) {
    expect(new Date(time).toISOString()).toBe(time);
  }
  expect(program.stderr).toBe("");
});

test("NOTIFY_PIPE: lines of JSON to the descriptor", async () => {
  const program = new Controlled({}, { env: { NOTIFY_PIPE: "4" } });
  const lines = linesOf(program.process.stdio[4] as Readable);
  const ready = { ready: true, size: 2, status: "2 of 2 instances ready" };
  await vi.waitFor(() => expect(lines).toContainEqual(ready), SOON);
  expect(lines[0]).toEqual({ status: "Starting" });
  program.kill("SIGTERM");
  expect(await program.ended).toEqual({ code: 0, signal: null });
  await vi.waitFor(() => expect(lines.at(-1)).toEqual({ status: "Stopped" }), SOON);
  expect(lines.at(-2)).toEqual({ stopping: true, status: "Stopping" });
});

test("the terminal: each change of status, once", async () => {
  const program = await Controlled.ready();
  program.kill("SIGTERM");
  expect(await program.ended).toEqual({ code: 0, signal: null });
  const lines = program.stderr.trim().split("\n");
  expect(lines[0]).toBe("forkmap: Starting");
  expect(new Set(lines).size).toBe(lines.length);
  expect(lines.slice(-3)).toEqual([
    "forkmap: 2 of 2 instances ready",
    "forkmap: Stopping",
    "forkmap: Stopped",
  ]);
});

describe("a command in a container", () => {
  test("is ready and healthy by datagrams, as a service of systemd", async () => {
    const container = contained();
    const service = new CommandService({ argv: ["python3", fixture("serving/notifies.py")] });
    container.run(service, { count: 2, healthCheckTimeout: 3000, name: "python" });
    await container.waitUntilReady();
    const before = container.instances;
    expect(before).toMatchObject([
      { num: 0, kind: "command", name: "python", status: "python with num 0" },
      { num: 1, kind: "command", name: "python", status: "python with num 1" },
    ]);
    // One that stops telling is killed; the other is not.
    process.kill(before[0]!.pid!, "SIGSTOP");
    await vi.waitFor(() => expect(container.size).toBe(1), SOON);
    expect(container.instances[0]).toMatchObject({ num: 1, pid: before[1]!.pid, state: "ready" });
  });

  test("can be the program of a controller, with the container's sockets", async () => {
    const container = contained({ sockets: { http: ANY } });
    const program = fileURLToPath(new URL("../fixtures/serving/given.mjs", import.meta.url));
    const options = JSON.stringify({ sockets: { http: ANY } });
    const service = new CommandService({ argv: [process.execPath, program, options] });
    container.run(service, { count: 1 });
    await container.waitUntilReady();
    expect(container.instances[0]).toMatchObject({ status: "1 of 1 instances ready" });
    expect((await whoami(addressOf(container))).pid).not.toBe(container.instances[0]!.pid);
    await container.stop();
  });
});
