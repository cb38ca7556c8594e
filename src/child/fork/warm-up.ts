/**
 * Loads and compiles in the fork server the Node code that is loaded on first use, for what workers usually need:
 * timers, files, `import()`, and network requests if the worker seems to make any. A first `fetch` costs a child some
 * 40 ms.
 */
import { hasSubscribers } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type * as Http from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type * as Tls from "node:tls";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import type { WorkerSource } from "../../worker/worker-source.js";

/** Taken before a worker replaces it. */
const { fetch } = globalThis;

/** Two: the second request takes another path (the connection pool exists), which is the path of a child. */
const REQUESTS = 2;
/** Gives up on a loopback interface that does not answer; then the children warm up themselves. */
const PATIENCE_MS = 1000;

/** Timers and files. Takes two ms, nearly all of them for the timers. */
export async function warmUp(): Promise<void> {
  await Promise.all([
    sleep(1),
    new Promise((resolve) => setTimeout(resolve, 1)),
    readFile("/dev/null"),
    import("node:fs/promises"),
  ]);
}

/**
 * Called once the worker is loaded. Not later, though it takes a while: a fork server that has forked cannot do it.
 *
 * @returns what can be done later, in steps
 */
export async function warmUpNetwork(source: WorkerSource): Promise<(() => void)[]> {
  if (!usesNetwork(source)) return [];
  // Without a loopback interface or a free port, this is skipped.
  await compiledFast(warmUpRequests).catch(() => {});
  return [parseRootCertificates];
}

/**
 * Called once a service with sockets is loaded. Takes 15 ms, and spares each instance the copies of 300 to 700 pages. Not the requests that
 * they may make: those take longer than one instance gains.
 */
export async function warmUpServer(): Promise<void> {
  if (!process.moduleLoadList.includes("NativeModule _http_server")) return;
  await warmUpAnswers().catch(() => {});
}

/**
 * Lets V8 use its baseline compiler for WebAssembly, of which the parser of responses is made. The optimising compiler
 * takes 30 to 80 ms for that parser, which the first child would wait for; a response is not noticeably slower. V8 must
 * not plan to optimise the code when it is hot, as it would do that in a thread.
 */
async function compiledFast<T>(warm: () => Promise<T>): Promise<T> {
  for (const flag of ["liftoff", "no-wasm-tier-up", "no-wasm-dynamic-tiering"])
    setFlagsFromString(`--${flag}`);
  try {
    return await warm();
  } finally {
    for (const flag of ["no-liftoff", "wasm-tier-up", "wasm-dynamic-tiering"])
      setFlagsFromString(`--${flag}`);
  }
}

/** All later connections use them. Takes 20 ms. Not if the worker has replaced the function: its own must not run unasked. */
function parseRootCertificates(): void {
  const { createSecureContext } = createRequire(import.meta.url)("node:tls") as typeof Tls;
  if (String(createSecureContext).includes("new SecureContext(")) createSecureContext();
}

/** Published by each request. */
const CHANNELS = [
  "http.client.request.start",
  "http.server.request.start",
  "net.client.socket",
  "net.server.socket",
  "undici:request:create",
];

/** Whether requests run no code of the worker, which would count or change them, or never answer: mocks, telemetry. */
function isNodesOwn(http: typeof Http): boolean {
  return (
    globalThis.fetch === fetch &&
    String(http.get).includes("request(url, options, cb)") &&
    String(http.createServer).includes("new Server(opts, requestListener)") &&
    String(http.Server.prototype.listen).includes("normalizeArgs(args)") &&
    !Object.hasOwn(http.Server.prototype, "emit") &&
    !CHANNELS.some((name) => hasSubscribers(name))
  );
}

/** A guess from the source text; a wrong guess only costs time. */
function usesNetwork({ url, text }: WorkerSource): boolean {
  if (process.moduleLoadList.includes("NativeModule _http_client")) return true;
  return NETWORK.test(text) || NETWORK.test(readModule(url));
}

const NETWORK = /\bfetch\b|["'](node:)?https?["']|["']undici["']/;

function readModule(url: string): string {
  try {
    return readFileSync(fileURLToPath(url), "utf8");
  } catch {
    return "";
  }
}

/** Makes real requests to a local server, so that every step runs, from the name lookup to the end of the body. */
async function warmUpRequests(): Promise<void> {
  await withServer("localhost", async (port, http) => {
    // Not AbortSignal.timeout: its timer would continue in every child.
    const patience = new AbortController();
    const url = `http://localhost:${port}/`;
    // A dispatcher of the worker may ignore the signal.
    await inTime(request(http, url, patience.signal), () => patience.abort());
  });
}

/** Asks a local server, by a socket: only the server's side is what instances need. */
async function warmUpAnswers(): Promise<void> {
  await withServer("127.0.0.1", async (port) => {
    const { default: net } = await import("node:net");
    const client = net.connect(port, "127.0.0.1");
    const answered = new Promise<void>((resolve, reject) => {
      client.once("error", reject).once("end", resolve).resume();
    });
    client.end("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await inTime(answered, () => client.destroy());
  });
}

/** Lets a server listen meanwhile, unless that would run code of the worker. */
async function withServer(
  host: string,
  use: (port: number, http: typeof Http) => Promise<void>,
): Promise<void> {
  const { default: http } = await import("node:http");
  if (!isNodesOwn(http)) return;
  const server = http.createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/plain", connection: "close" });
    response.end("warm");
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, host, resolve);
  });
  try {
    await use((server.address() as AddressInfo).port, http);
  } finally {
    await close(server);
  }
}

async function inTime(work: Promise<void>, onLate: () => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      onLate();
      resolve();
    }, PATIENCE_MS);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function request(http: typeof Http, url: string, signal: AbortSignal): Promise<void> {
  for (let i = 0; i < REQUESTS; i += 1) {
    await (await fetch(url, { signal })).text();
    await new Promise((resolve, reject) => {
      http
        .get(url, { agent: false, signal }, (response) => response.resume().once("close", resolve))
        .once("error", reject);
    });
  }
}

/** Closes all sockets: every child would inherit them. */
async function close(server: Http.Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}
