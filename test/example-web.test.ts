/** Runs the example of a service under load, over real sockets, while it is restarted and while its instances are killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { createServer } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import autocannon, { type Instance, type Result } from "autocannon";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { descendants, scratchDirectories } from "./support/leftovers.js";
import { SOON } from "./support/soon.js";

const PROGRAM = fileURLToPath(new URL("../build/examples/web.js", import.meta.url));
const READY = "forkmap: 4 of 4 instances ready\n";
/** RESTARTS=20 takes some 2 minutes. */
const RESTARTS = Number(process.env["RESTARTS"] ?? 6);
const CONNECTIONS = 50;
/** Requests a second: fewer than there could be, as the machine has to restart as well. */
const RATE = 2000;

// Under load its processes share the machine with the clients.
vi.setConfig({ testTimeout: 90_000 });

let server: ChildProcess;
let base: string;
let told: string;

beforeEach(async () => {
  const port = await freePort();
  base = `http://127.0.0.1:${port}`;
  told = "";
  server = spawn(process.execPath, [PROGRAM], {
    stdio: ["ignore", "inherit", "pipe"],
    env: { ...process.env, PORT: String(port) },
  });
  server.stderr!.setEncoding("utf8").on("data", (chunk: string) => (told += chunk));
  await vi.waitUntil(() => readies() === 1, SOON);
});

afterEach(async () => {
  if (server.exitCode === null && server.kill("SIGKILL")) await once(server, "close");
  await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
  expect(scratchDirectories()).toEqual([]);
});

async function freePort(): Promise<number> {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  taken.close();
  await once(taken, "close");
  return port;
}

/** How often all have been ready. */
function readies(): number {
  return told.split(READY).length - 1;
}

/** Asks for the sixth prime over all connections at once, again and again, until `stop`. */
function startLoad(isKeptAlive: boolean) {
  const errors: Record<string, number> = {};
  const { promise, resolve, reject } = withResolvers<Result>();
  const load: Instance = autocannon(
    {
      url: `${base}/5`,
      connections: CONNECTIONS,
      duration: 600,
      overallRate: RATE,
      timeout: 30,
      ...(isKeptAlive ? {} : { headers: { connection: "close" } }),
      verifyBody: (body) => (JSON.parse(String(body)) as { prime: number }).prime === 13,
    },
    (error: unknown, result: Result) => (error ? reject(error as Error) : resolve(result)),
  );
  load.on("reqError", (error: NodeJS.ErrnoException) => {
    const name = error.code ?? error.message;
    errors[name] = (errors[name] ?? 0) + 1;
  });
  return {
    errors,
    async stop(): Promise<Result> {
      load.stop?.();
      return await promise;
    },
  };
}

function withResolvers<Value>() {
  let resolve!: (value: Value) => void;
  let reject!: (reason: Error) => void;
  const promise = new Promise<Value>((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
}

interface Answer {
  readonly num: number;
  readonly pid: number;
  readonly prime: number;
}

async function ask(): Promise<Answer> {
  const [response] = (await once(get(`${base}/0`, { agent: false }), "response")) as [
    NodeJS.ReadableStream,
  ];
  return JSON.parse(await text(response)) as Answer;
}

async function expectToEnd(): Promise<void> {
  const ended = once(server, "close");
  server.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  expect(told.endsWith("forkmap: Stopped\n")).toBe(true);
}

describe.each([
  ["kept-alive connections", true],
  ["a connection for each request", false],
] as const)("under load over %s", (_, isKeptAlive) => {
  test.each([
    ["blue-green", "SIGHUP"],
    ["rolling", "SIGUSR2"],
  ] as const)("no request fails while it is restarted, %s", async (_name, signal) => {
    const before = (await ask()).pid;
    const load = startLoad(isKeptAlive);
    for (let i = 1; i <= RESTARTS; i += 1) {
      const count = readies();
      server.kill(signal);
      await vi.waitUntil(() => readies() > count, SOON);
    }
    const result = await load.stop();
    expect(load.errors).toEqual({});
    expect(result).toMatchObject({ errors: 0, timeouts: 0, non2xx: 0, mismatches: 0 });
    // Many between two restarts.
    expect(result["2xx"]).toBeGreaterThan(RESTARTS * 10);
    expect(told).not.toContain("FORKMAP_");
    expect(told.split("forkmap: Restarting")).toHaveLength(RESTARTS + 1);
    expect((await ask()).pid).not.toBe(before);
    await expectToEnd();
  });

  test("of an instance that is killed, only what it had in flight fails", async () => {
    const load = startLoad(isKeptAlive);
    const kills = 5;
    for (let i = 0; i < kills; i += 1) {
      await sleep(1000);
      process.kill((await ask()).pid, "SIGKILL");
    }
    const ends = () => told.split("ended: SIGKILL").length - 1;
    await vi.waitUntil(() => ends() >= kills && told.trimEnd().endsWith(READY.trimEnd()), SOON);
    const result = await load.stop();
    expect(result).toMatchObject({ timeouts: 0, non2xx: 0, mismatches: 0 });
    // The killed one has at most all connections.
    expect(result.errors).toBeLessThanOrEqual(kills * CONNECTIONS);
    expect(result["2xx"]).toBeGreaterThan(kills * CONNECTIONS);
    // Resets, and no connection that was refused.
    expect(Object.keys(load.errors).filter((code) => !/^(ECONNRESET|EPIPE)$/.test(code))).toEqual(
      [],
    );
    expect(ends()).toBe(kills);
    await ask();
    await expectToEnd();
  });
});
