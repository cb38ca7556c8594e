/**
 * Starts HTTP services that fail in every usual way, runs the health probe on them, and compares its report with the
 * expected one. Exits 0 only if all of it is right.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

interface Service {
  readonly name: string;
  /** If absent, nothing listens on the port. */
  readonly listener?: RequestListener;
  /** Status and number of attempts in the probe's table. */
  readonly expected: readonly [status: string, attempts: string];
}

const TIMEOUT_MS = 3000;
const RETRIES = 1;

let callsOfFlaky = 0;

const SERVICES: readonly Service[] = [
  { name: "fast", listener: (_, response) => response.end("ok"), expected: ["200", "1"] },
  {
    name: "slow",
    listener: (_, response) => setTimeout(() => response.end("ok"), 300),
    expected: ["200", "1"],
  },
  {
    name: "flaky",
    listener: (_, response) => {
      callsOfFlaky += 1;
      response.writeHead(callsOfFlaky === 1 ? 503 : 200).end();
    },
    expected: ["200", "2"],
  },
  { name: "hung", listener: () => {}, expected: ["timeout", "2"] },
  {
    name: "broken",
    listener: (_, response) => response.writeHead(500).end("sorry"),
    expected: ["500", "2"],
  },
  { name: "refused", expected: ["refused", "2"] },
  {
    name: "reset",
    listener: (request) => request.socket.resetAndDestroy(),
    expected: ["reset", "2"],
  },
  {
    name: "cut-short",
    listener: (_, response) => {
      response.writeHead(200, { "content-length": 1000 });
      response.write("the first bytes of a thousand", () => response.destroy());
    },
    expected: ["cut short", "2"],
  },
];

// The reader closed the pipe, as `| head` does.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

const servers: Server[] = [];
try {
  const urls = await Promise.all(SERVICES.map(start));
  const probe = await probeAll(urls);
  process.stdout.write(`${probe.output}\n`);
  process.exitCode = compare(urls, probe) ? 0 : 1;
} finally {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
}

/** Resolves with the URL of the service. */
async function start({ name, listener }: Service): Promise<string> {
  const server = createServer(listener ?? (() => {}));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  if (listener) servers.push(server);
  else await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}/${name}`;
}

interface Probe {
  readonly output: string;
  readonly exitCode: number | null;
}

/** Runs the probe as a user does: a process of its own, URLs on its standard input, its error messages on our stderr. */
async function probeAll(urls: readonly string[]): Promise<Probe> {
  // health-probe.js beside the compiled demo, health-probe.ts when Node runs the sources.
  const own = fileURLToPath(import.meta.url);
  const program = path.join(path.dirname(own), `health-probe${path.extname(own)}`);
  const child = spawn(
    process.execPath,
    [program, "--timeout", String(TIMEOUT_MS), "--retries", String(RETRIES)],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  child.stdin.end(`# the services of the demo\n\n${urls.join("\n")}\n`);
  const [output, [exitCode]] = await Promise.all([text(child.stdout), once(child, "close")]);
  return { output, exitCode: exitCode as number | null };
}

function compare(urls: readonly string[], { output, exitCode }: Probe): boolean {
  // Columns are two spaces apart or more: URL, status, ms, attempts.
  const rows = output.split("\n").map((line) => line.split(/ {2,}/));
  let right = 0;
  const check = (name: string, expected: string, seen: string) => {
    if (seen === expected) right += 1;
    const verdict = seen === expected ? "right" : "WRONG";
    process.stdout.write(
      `${name.padEnd(10)}  ${expected.padEnd(22)}  ${seen.padEnd(22)}  ${verdict}\n`,
    );
  };
  process.stdout.write(`${"service".padEnd(10)}  ${"expected".padEnd(22)}  ${"seen".padEnd(22)}\n`);
  for (const [index, { name, expected }] of SERVICES.entries()) {
    const row = rows.find(([url]) => url === urls[index]);
    check(name, inWords(...expected), row ? inWords(row[1]!, row[3]!) : "not in the table");
  }
  check("exit code", "1", String(exitCode));
  const checks = SERVICES.length + 1;
  process.stdout.write(`\n${right} of ${checks} are as expected\n`);
  return right === checks;
}

function inWords(status: string, attempts: string): string {
  return `${status}, ${attempts} attempt${attempts === "1" ? "" : "s"}`;
}
