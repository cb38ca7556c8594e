/**
 * Loads and compiles in the fork server what Node itself leaves to the first use, for what workers mostly do: timers,
 * files, `import()`, and requests over the network if the worker looks like making any. A first `fetch` costs a child
 * some 40 ms.
 */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { WorkerSource } from "../../worker/worker-source.js";

/** Twice: what the second request does differently (a pool that exists) is what a child does. */
const REQUESTS = 2;
/** For a loopback that is there but does not answer; then the children warm up themselves. */
const PATIENCE_MS = 1000;

export async function warmUp(source: WorkerSource): Promise<void> {
  await Promise.all([
    sleep(1),
    new Promise((resolve) => setTimeout(resolve, 1)),
    readFile("/dev/null"),
  ]);
  await import("node:fs/promises");
  if (!usesNetwork(source)) return;
  // Parses the root certificates, which all later connections share.
  const { createSecureContext } = await import("node:tls");
  createSecureContext();
  // No loopback, no port to be had: not worth an error.
  await warmUpRequests().catch(() => {});
}

/** A guess, on the safe side of neither: a wrong one costs time and nothing else. */
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

/** Real requests to a server of our own: every step from the look-up of the name to the end of the body is taken once. */
async function warmUpRequests(): Promise<void> {
  const http = await import("node:http");
  const server = http.createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/plain", connection: "close" });
    response.end("warm");
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "localhost", resolve);
  });
  const url = `http://localhost:${(server.address() as AddressInfo).port}/`;
  // Not AbortSignal.timeout: its timer would go on in every child.
  const patience = new AbortController();
  const { signal } = patience;
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  try {
    for (let i = 0; i < REQUESTS; i += 1) {
      await (await fetch(url, { signal })).text();
      await new Promise((resolve, reject) => {
        http
          .get(url, { agent: false, signal }, (response) =>
            response.resume().once("close", resolve),
          )
          .once("error", reject);
      });
    }
  } finally {
    clearTimeout(timer);
    await close(server);
  }
}

/** No socket may stay open: it would be in every child. */
async function close(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}
