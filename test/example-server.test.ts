/** Runs the example of a server under load, over real sockets: each request has its own right answer, also while it stops. */
import { type ChildProcess, spawn } from "node:child_process";
import { scryptSync } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { processorCount } from "forkmap";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { descendants } from "./support/leftovers.js";
import { SOON } from "./support/soon.js";

const PROGRAM = fileURLToPath(new URL("../build/examples/server.js", import.meta.url));
const ENDLESS = "/primes?below=1000000000000";
const QUEUE = 100;
/** Each hash costs some 50 ms, here and there. */
const HASHES = 10;

// Under load its processes share the machine with the clients.
vi.setConfig({ testTimeout: 90_000 });

let folder: string;
let agent: Agent;
let server: ChildProcess;
let base: URL;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "forkmap-test-server-"));
  agent = new Agent({ keepAlive: true });
});

afterEach(async () => {
  agent.destroy();
  if (server.exitCode === null && server.kill("SIGKILL")) await once(server, "close");
  await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
  expect(readdirSync(folder)).toEqual([]);
  rmSync(folder, { recursive: true, force: true });
});

async function start(env: NodeJS.ProcessEnv): Promise<void> {
  server = spawn(process.execPath, [PROGRAM], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, PORT: "0", TMPDIR: folder, ...env },
  });
  const [line] = (await once(server.stdout!, "data")) as [Buffer];
  base = new URL(line.toString().trim());
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: IncomingHttpHeaders;
}

/** A request: `received` resolves once the server has it, before it is answered. */
function ask(target: string, body?: string) {
  const asked = request(new URL(target, base), {
    agent,
    method: body === undefined ? "GET" : "POST",
    headers: { expect: "100-continue", "content-length": Buffer.byteLength(body ?? "") },
  });
  const received = once(asked, "continue").then(() => asked.end(body));
  const answer = once(asked, "response").then(async ([response]): Promise<Answer> => {
    const { statusCode, headers } = response as IncomingMessage;
    return { status: statusCode!, headers, body: await text(response as IncomingMessage) };
  });
  // A client that leaves awaits neither.
  for (const each of [received, answer]) each.catch(() => {});
  asked.flushHeaders();
  return { received, answer, leave: () => asked.destroy() };
}

/** Keeps all slots of the server busy until it leaves. */
async function holdSlots(): Promise<() => void> {
  const holding = Array.from({ length: processorCount() }, () => ask(ENDLESS));
  await Promise.all(holding.map(({ received }) => received));
  return () => {
    for (const each of holding) each.leave();
  };
}

/** Different requests with what is right for each. */
function load(count: number) {
  return Array.from({ length: count }, (_, i) => {
    const body = i < HASHES ? `password ${i}` : undefined;
    const asked = body === undefined ? ask(`/primes?below=${i}`) : ask("/hash", body);
    return { ...asked, check: body === undefined ? checkPage(i) : checkHash(body) };
  });
}

function checkPage(below: number) {
  return ({ body, headers }: Answer) => {
    expect(headers["content-type"]).toBe("text/html; charset=utf-8");
    expect(body).toContain(`<h1>Primes below ${below}</h1>`);
    const primes = Array.from(body.matchAll(/<td>\d+<td>(\d+)/g), ([, n]) => Number(n));
    expect(primes).toEqual(sieve(below));
  };
}

function checkHash(password: string) {
  return ({ body }: Answer) => {
    const [salt, key] = body.split(":").map((hex) => Buffer.from(hex, "hex"));
    expect(key).toEqual(scryptSync(password, salt!, 32));
  };
}

function sieve(below: number): number[] {
  const numbers = Array.from({ length: Math.max(0, below - 2) }, (_, i) => i + 2);
  return numbers.filter(
    (n) => !numbers.some((divisor) => divisor * divisor <= n && n % divisor === 0),
  );
}

test("hundreds of requests at once have their own answers, or past the queue a 503", async () => {
  await start({ QUEUE: String(QUEUE), TIMEOUT_MS: "60000" });
  const release = await holdSlots();
  const asked = load(400);
  const refused: Answer[] = [];
  const served = asked.map(async ({ answer, check }) => {
    const given = await answer;
    if (given.status === 503) return refused.push(given);
    expect(given.status).toBe(200);
    return check(given);
  });
  await vi.waitFor(() => expect(refused).toHaveLength(400 - QUEUE), SOON);
  // The clients that hold the slots disconnect, so their items end long before their timeout.
  release();
  await Promise.all(served);
  expect(refused).toHaveLength(400 - QUEUE);
  expect(new Set(refused.map(({ headers }) => headers["retry-after"]))).toEqual(new Set(["1"]));
});

test("an item that takes too long is a 504, and costs no other request its answer", async () => {
  await start({ QUEUE: "1000", TIMEOUT_MS: "3000" });
  const slow = Array.from({ length: 3 }, () => ask(ENDLESS));
  const asked = load(200);
  for (const { answer } of slow) expect(await answer).toMatchObject({ status: 504 });
  for (const { answer, check } of asked) {
    const given = await answer;
    expect(given.status).toBe(200);
    check(given);
  }
});

test.each([
  ["/primes?below=many", undefined, 400],
  ["/", undefined, 404],
  ["/hash", "x".repeat(65 * 1024), 413],
])("a bad request, %s", async (target, body, status) => {
  await start({});
  expect(await ask(target, body).answer).toMatchObject({ status });
});

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s under load: what was accepted is answered, then the server exits with 0",
  async (signal) => {
    await start({ QUEUE: "1000", TIMEOUT_MS: "60000" });
    const release = await holdSlots();
    const asked = load(300);
    await Promise.all(asked.map(({ received }) => received));
    const ended = once(server, "close");
    server.kill(signal);
    await vi.waitFor(async () => expect(await isListening()).toBe(false), SOON);
    release();
    for (const { answer, check } of asked) {
      const given = await answer;
      expect(given.status).toBe(200);
      check(given);
    }
    expect(await ended).toEqual([0, null]);
    expect(descendants()).toEqual([]);
  },
);

async function isListening(): Promise<boolean> {
  const socket = connect(Number(base.port), base.hostname);
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
