#!/usr/bin/env node
/**
 * An HTTP server whose heavy work runs in a pool of processes, so that its event loop stays free. Past the queue it answers
 * 503, past the time for an item 504; the item of a client that has gone is stopped; on SIGTERM it answers what it has
 * accepted and exits with 0.
 *
 *   PORT=8080 server
 *   curl '127.0.0.1:8080/primes?below=10000'
 *   curl --data 'a password' 127.0.0.1:8080/hash
 */
import { randomBytes, scryptSync } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { ItemTimeoutError, Parallel, ParallelWorker, QueueFullError } from "forkmap";

type Job =
  | { readonly kind: "page"; readonly below: number }
  | { readonly kind: "hash"; readonly password: string };

export class Jobs extends ParallelWorker<Job> {
  process(job: Job): string {
    return job.kind === "page" ? pageOf(job.below) : hashOf(job.password);
  }
}

// Must come before code that listens: to find the class, another process runs this file again up to this line.
const parallel = new Parallel(new Jobs(), {
  pool: true,
  maxQueue: Number(process.env["QUEUE"] ?? 100),
  timeout: Number(process.env["TIMEOUT_MS"] ?? 2000),
});

const LONGEST_BODY_BYTES = 64 * 1024;

/** An answer other than the result of an item. */
class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const server = createServer((request, response) => void answer(request, response));
server.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1");
await once(server, "listening");
const { port } = server.address() as AddressInfo;
process.stdout.write(`http://127.0.0.1:${port}\n`);

// `once`: a second signal ends the program at once, and forkmap removes the children even then.
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop());

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  try {
    const job = await jobOf(request);
    reply(response, 200, await parallel.run(job, { signal: gone.signal }));
  } catch (error) {
    if (gone.signal.aborted) return;
    const { status, message } = refusalOf(error);
    if (status === 503) response.setHeader("retry-after", 1);
    reply(response, status, message);
  }
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof QueueFullError) return new Refusal(503, "Busy, try again");
  if (error instanceof ItemTimeoutError) return new Refusal(504, "This takes too long");
  process.stderr.write(`server: ${String(error)}\n`);
  return new Refusal(500, "Something went wrong");
}

function reply(response: ServerResponse, status: number, body: string): void {
  const type = body.startsWith("<") ? "text/html" : "text/plain";
  response.setHeader("content-type", `${type}; charset=utf-8`);
  // A client that keeps its connection would hold up the end of the server.
  if (!server.listening) response.setHeader("connection", "close");
  response.writeHead(status).end(body);
}

async function stop(): Promise<void> {
  server.close();
  await once(server, "close");
  await parallel.close();
}

async function jobOf(request: IncomingMessage): Promise<Job> {
  const [path, query] = request.url!.split("?", 2);
  const route = `${request.method} ${path}`;
  if (route === "GET /primes") {
    const below = Number(new URLSearchParams(query).get("below") ?? 1000);
    if (!Number.isSafeInteger(below)) throw new Refusal(400, "`below` must be a whole number");
    return { kind: "page", below };
  }
  if (route === "POST /hash") {
    if (!(Number(request.headers["content-length"]) <= LONGEST_BODY_BYTES)) {
      throw new Refusal(413, `The body must have a length of at most ${LONGEST_BODY_BYTES} bytes`);
    }
    return { kind: "hash", password: await text(request) };
  }
  throw new Refusal(404, "There are GET /primes?below=1000 and POST /hash");
}

function pageOf(below: number): string {
  const rows: string[] = [];
  for (let n = 2; n < below; n += 1) {
    if (isPrime(n)) rows.push(`<tr><td>${rows.length + 1}<td>${n}`);
  }
  return `<!doctype html><title>Primes</title><h1>Primes below ${below}</h1><table>${rows.join("")}</table>`;
}

function isPrime(n: number): boolean {
  for (let divisor = 2; divisor * divisor <= n; divisor += 1) {
    if (n % divisor === 0) return false;
  }
  return true;
}

/** `<salt>:<key>`, in hexadecimal. */
function hashOf(password: string): string {
  const salt = randomBytes(16);
  return `${salt.toString("hex")}:${scryptSync(password, salt, 32).toString("hex")}`;
}
