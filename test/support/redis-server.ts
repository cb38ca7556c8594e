/**
 * A real redis-server (or valkey-server) of a test's own, on a free port of 127.0.0.1 and on a Unix socket. It ends with its test file.
 *
 * Where none is installed, scripts/get-redis installs Debian's if it can. Else `describeWithRedis` skips its tests and says so; with
 * `CI` or `FORKMAP_CI` in the environment it fails.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, describe } from "vitest";

export interface RedisServerOptions {
  /** Keeps the data in an append-only file, so that they are there after `restart`. */
  readonly appendOnly?: boolean;
  readonly password?: string;
  /** Users as in `user` of redis.conf, such as "app on >secret ~bull:* +@all". The user `default` stays as it is. */
  readonly users?: readonly string[];
  /** TLS is all that the port speaks, with a certificate for these names, such as "DNS:localhost,IP:127.0.0.1". */
  readonly tlsNames?: string;
  /** @defaultValue "noeviction" */
  readonly evictionPolicy?: string;
  /** More lines of redis.conf. */
  readonly config?: readonly string[];
}

export interface RedisServer {
  readonly port: number;
  /** As the user `default`; by `rediss:` with `tlsNames`. */
  readonly url: string;
  /** Path of the Unix socket. */
  readonly socket: string;
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  /** The certificate to trust, in PEM, with `tlsNames`. */
  readonly ca: string | undefined;
  /** Sends a signal; waits until the process has ended if the signal ends it. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port with the same data, after `kill`. Resolves once it serves, or, with "listening", loads its data. */
  restart(until?: "ready" | "listening"): Promise<void>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
  /** Runs a command of Redis as the user `default`. */
  command(name: string, ...words: (string | number)[]): Promise<unknown>;
}

const program = findProgram();
export const hasRedis = typeof program === "string";

/** As `describe`, for tests that need a server of Redis. */
export function describeWithRedis(name: string, body: () => void): void {
  if (typeof program === "string") return void describe(name, body);
  const how =
    "install redis-server or valkey-server (as root on Debian, the tests do it themselves)";
  const message = `Skipped: ${name}. There is no server of Redis here, and ${program.why}: ${how}`;
  if (process.env["CI"] || process.env["FORKMAP_CI"]) throw new Error(message);
  console.warn(message);
  describe.skip(name, body);
}

const running = new Set<Server>();

afterAll(async () => {
  await Promise.all([...running].map((each) => each.stop()));
});
// If vitest gives up on the file.
process.on("exit", () => {
  for (const each of running) each.end();
});

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const server = new Server(options, await freePort());
  running.add(server);
  await server.restart();
  return server;
}

class Server implements RedisServer {
  readonly port: number;
  readonly url: string;
  readonly socket: string;
  readonly ca: string | undefined;
  readonly #directory = mkdtempSync(path.join(tmpdir(), "test-of-forkmap-redis-"));
  readonly #password: string | undefined;
  #child: ChildProcess | undefined;

  constructor(options: RedisServerOptions, port: number) {
    const { password, tlsNames } = options;
    this.port = port;
    this.socket = path.join(this.#directory, "redis.sock");
    this.#password = password;
    const login = password === undefined ? "" : `:${encodeURIComponent(password)}@`;
    this.url = `redis${tlsNames === undefined ? "" : "s"}://${login}127.0.0.1:${port}`;
    if (tlsNames !== undefined) this.ca = makeCertificate(this.#directory, tlsNames);
    writeFileSync(path.join(this.#directory, "redis.conf"), this.#configuration(options));
  }

  #configuration({ appendOnly, password, users = [], config = [], ...rest }: RedisServerOptions) {
    const lines = [
      "bind 127.0.0.1",
      "protected-mode no",
      'save ""',
      `unixsocket ${this.socket}`,
      `dir ${this.#directory}`,
      `maxmemory-policy ${rest.evictionPolicy ?? "noeviction"}`,
      rest.tlsNames === undefined ? `port ${this.port}` : `port 0\ntls-port ${this.port}`,
    ];
    if (rest.tlsNames !== undefined) {
      lines.push("tls-cert-file cert.pem", "tls-key-file key.pem", "tls-ca-cert-file cert.pem");
      lines.push("tls-auth-clients no");
    }
    // After each command, as a killed server must have all that it has acknowledged.
    if (appendOnly) lines.push("appendonly yes", "appendfsync always");
    if (password !== undefined) lines.push(`requirepass ${password}`);
    return [...lines, ...users.map((user) => `user ${user}`), ...config, ""].join("\n");
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  async restart(until: "ready" | "listening" = "ready"): Promise<void> {
    if (typeof program !== "string") throw new Error(`No server of Redis: ${program.why}`);
    const child = spawn(program, ["redis.conf"], {
      cwd: this.#directory,
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    let log = "";
    await new Promise<void>((resolve, reject) => {
      const awaited = until === "ready" ? /Ready to accept/ : /Server initialized/;
      child.stdout!.setEncoding("utf8").on("data", (text: string) => {
        log = (log + text).slice(-10_000);
        if (awaited.test(log)) resolve();
      });
      child.once("error", reject);
      child.once("exit", () => reject(new Error(`The server of Redis has ended:\n${log}`)));
    });
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const ends = signal === "SIGKILL" || signal === "SIGTERM" || signal === "SIGINT";
    if (!ends) return void this.#child!.kill(signal);
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    running.delete(this);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** At once, as nothing waits any more. */
  end(): void {
    this.#child?.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async command(name: string, ...words: (string | number)[]): Promise<unknown> {
    const client = new Redis(this.socket, {
      ...(this.#password === undefined ? {} : { password: this.#password }),
      retryStrategy: () => null,
      enableReadyCheck: false,
    });
    client.on("error", () => {});
    try {
      return await client.call(name, ...words);
    } finally {
      client.disconnect();
    }
  }
}

/** Its path, or why there is none. */
function findProgram(): string | { readonly why: string } {
  const found = onPath();
  if (found !== undefined) return found;
  const script = fileURLToPath(new URL("../../scripts/get-redis", import.meta.url));
  try {
    execFileSync(script, { stdio: ["ignore", "pipe", "pipe"], timeout: 300_000 });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: Buffer };
    const last = String(stderr ?? "")
      .trim()
      .split("\n")
      .at(-1);
    return { why: last || message };
  }
  return onPath() ?? { why: "its installation has not brought one" };
}

function onPath(): string | undefined {
  const folders = process.env["PATH"]!.split(path.delimiter);
  const names = ["redis-server", "valkey-server"];
  return names
    .flatMap((name) => folders.map((folder) => path.join(folder, name)))
    .find((file) => existsSync(file));
}

/** The system may give the port to another until the server has it, which is rare. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function makeCertificate(directory: string, names: string): string {
  const [key, certificate] = [path.join(directory, "key.pem"), path.join(directory, "cert.pem")];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const subject = ["-subj", "/CN=test of forkmap", "-addext", `subjectAltName=${names}`];
  const files = ["-keyout", key, "-out", certificate, "-days", "2"];
  execFileSync("openssl", ["req", "-x509", ...curve, ...subject, ...files], { stdio: "pipe" });
  return readFileSync(certificate, "utf8");
}
