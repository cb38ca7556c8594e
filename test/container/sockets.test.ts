/** The sockets of a container: opened once, shared by all instances of any kind, kept over their ends, and closed with the container. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import type net from "node:net";
import { fileURLToPath } from "node:url";
import {
  CommandService,
  Container,
  type ContainerOptions,
  type RunOptions,
  type SocketAddress,
  type SocketOptions,
} from "forkmap/container";
import { describe, expect, test, vi } from "vitest";
import { Web } from "../fixtures/serving/web.mjs";
import { isAlive } from "../support/leftovers.js";
import { fixture, runScript, startScript } from "../support/run-script.js";
import { addressOf, ANY, ask, Client, contained, whoami } from "../support/serving.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

const COMMAND = fileURLToPath(new URL("../fixtures/serving/command.mjs", import.meta.url));
const KINDS = ["fork", "spawn", "thread", "hybrid", "command"] as const;
type Way = (typeof KINDS)[number];

interface Wanted {
  readonly names?: readonly string[];
  readonly delay?: number;
}

function containedFor(way: Way, sockets: Record<string, SocketOptions>): Container {
  const startMethod = way === "hybrid" || way === "command" ? undefined : way;
  return contained({ sockets, startMethod });
}

/** Starts two instances that answer; of threads, two in a process. */
function start(container: Container, way: Way, wanted: Wanted = {}, options: RunOptions = {}) {
  const { delay = 0 } = wanted;
  if (way === "command") {
    const env = { ...process.env, DELAY: String(delay) };
    const service = new CommandService({ argv: [process.execPath, COMMAND], env });
    return container.run(service, { count: 2, ...options });
  }
  const shape = way === "hybrid" ? { count: 1, threads: 2 } : { count: 2 };
  return container.run(new Web(wanted), { ...shape, ...options });
}

describe.each(KINDS)("instances by %s", (way) => {
  test("accept from sockets of TCP and of Unix, all of them from each", async () => {
    const path = `${temporaryDirectory()}/web.sock`;
    const container = containedFor(way, { http: ANY, local: { path } });
    start(container, way, { names: ["http", "local"] });
    await container.waitUntilReady();
    expect(addressOf(container, "local")).toEqual({ path });
    for (const name of ["http", "local"]) {
      const seen = new Set<string>();
      await vi.waitUntil(async () => {
        const { pid, thread, kind, via } = await whoami(addressOf(container, name));
        expect(via).toBe(name);
        expect(kind).toBe(way === "hybrid" ? "thread" : way);
        seen.add(`${pid} ${thread}`);
        return seen.size === 2;
      }, SOON);
    }
    const [tcp, unix] = [addressOf(container), addressOf(container, "local")];
    await container.stop();
    await expect(Client.connect(tcp)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await expect(Client.connect(unix)).rejects.toMatchObject({ code: "ENOENT" });
    expect(existsSync(path)).toBe(false);
  });

  test("answer connections that were made before any of them was ready, or there", async () => {
    const container = containedFor(way, { http: ANY });
    const before = await Client.connect(addressOf(container));
    before.get("/");
    start(container, way, { delay: 400 });
    const meanwhile = await Client.connect(addressOf(container));
    meanwhile.get("/");
    await Promise.all([before, meanwhile].map((client) => client.until('"via":"http"')));
    await container.waitUntilReady();
  });

  test("lose no connection when one of them ends and is started again", async () => {
    const container = containedFor(way, { http: ANY });
    start(container, way, {}, { restart: "always", backoff: { min: 1, max: 1 } });
    await container.waitUntilReady();
    const victim = container.instances[0]!;
    // A thread has the pid of the program.
    if (way !== "thread") process.kill(victim.pid!, "SIGKILL");
    const restarted = way === "thread" ? container.restart() : undefined;
    for (let i = 0; i < 20; i += 1) await whoami(addressOf(container));
    await restarted;
    await vi.waitFor(() => {
      expect(container.instances[0]).toMatchObject({ generation: 2, state: "ready", num: 0 });
    }, SOON);
    await whoami(addressOf(container));
  });

  test.skipIf(way === "command")("keep the sockets from programs that they start", async () => {
    const container = containedFor(way, { http: ANY });
    start(container, way);
    await container.waitUntilReady();
    const { body } = await ask(addressOf(container), "/descriptors");
    const { listening, own, started } = JSON.parse(body) as Record<
      "listening" | "started",
      string
    > & {
      own: string[];
    };
    expect(listening).toMatch(/^socket:/);
    expect(own).toContain(listening);
    expect(started).toContain("->");
    expect(started).not.toContain(listening);
  });
});

describe("of two instances", () => {
  async function twoBusy() {
    const container = contained({ sockets: { http: ANY } });
    container.run(new Web(), { count: 2, restart: "always", backoff: { min: 1, max: 1 } });
    await container.waitUntilReady();
    const address = addressOf(container);
    // A kept-alive connection to each: whose it is, is the kernel's choice.
    const byPid = new Map<number, Client>();
    await vi.waitUntil(async () => {
      const client = (await Client.connect(address)).get("/");
      await client.until("}");
      byPid.set(Number(/"pid":(\d+)/.exec(client.received)![1]), client);
      client.received = "";
      return byPid.size === 2;
    }, SOON);
    const [[victim, lost], [other, kept]] = [...byPid] as [[number, Client], [number, Client]];
    return { container, address, victim, lost, other, kept };
  }

  test("one that is killed loses only what it had in flight", async () => {
    const { container, address, victim, lost, other, kept } = await twoBusy();
    lost.get("/slow/20000");
    kept.get("/slow/1000");
    // Both have read their request: what follows is answered after it.
    await whoami(address);
    process.kill(victim, "SIGKILL");
    for (let i = 0; i < 20; i += 1) expect((await whoami(address)).pid).not.toBe(victim);
    await kept.until(`"pid":${other}`);
    expect(lost.isClosed).toBe(true);
    expect(lost.received).toBe("");
    await container.waitUntilReady();
    expect(container.instances.map(({ num }) => num)).toEqual([0, 1]);
  });

  test("one that is frozen delays only what it had accepted", async () => {
    const { container, address, victim, lost, other } = await twoBusy();
    process.kill(victim, "SIGSTOP");
    try {
      lost.get("/");
      for (let i = 0; i < 20; i += 1) expect((await whoami(address)).pid).toBe(other);
      expect(lost.received).toBe("");
    } finally {
      process.kill(victim, "SIGCONT");
    }
    await lost.until(`"pid":${victim}`);
    await container.stop();
  });

  test("one that is frozen for longer than healthCheckTimeout is replaced", async () => {
    const container = contained({ sockets: { http: ANY } });
    container.run(new Web(), {
      count: 2,
      restart: "always",
      backoff: { min: 1, max: 1 },
      healthCheckTimeout: 1500,
    });
    await container.waitUntilReady();
    const { pid } = container.instances[1]!;
    process.kill(pid!, "SIGSTOP");
    await vi.waitFor(() => {
      expect(isAlive(pid!)).toBe(false);
      expect(container.instances[1]).toMatchObject({ num: 1, generation: 2, state: "ready" });
    }, SOON);
    await whoami(addressOf(container));
  });
});

describe("an address", () => {
  test("with port 0 is any free port, another one for each socket", () => {
    const container = contained({ sockets: { one: ANY, other: ANY } });
    const [one, other] = [addressOf(container, "one"), addressOf(container, "other")];
    expect(one).toEqual({ host: "127.0.0.1", port: expect.any(Number) });
    expect((one as { port: number }).port).toBeGreaterThan(0);
    expect(other).not.toEqual(one);
  });

  test.each([
    ["localhost", "127.0.0.1"],
    ["::1", "::1"],
    ["0.0.0.0", "0.0.0.0"],
    [undefined, expect.stringMatching(/^(::|0\.0\.0\.0)$/)],
  ])("with host %s", async (host, expected) => {
    const container = contained({ sockets: { http: { host, port: 0 } } });
    const address = addressOf(container) as { host: string; port: number };
    expect(address).toEqual({ host: expected, port: expect.any(Number) });
    container.run(new Web(), { count: 1 });
    const client = host === "::1" ? address : { ...address, host: "127.0.0.1" };
    expect(await whoami(client)).toMatchObject({ num: 0 });
  });

  test("is asked for by the name of a socket that there is", () => {
    const container = contained({ sockets: { http: ANY, admin: ANY } });
    expect(() => container.address("web")).toThrow(
      'Expected the name of a socket of the container (it has http, admin), got "web"',
    );
    expect(() => contained().address("web")).toThrow("it has none");
  });

  test("that is in use: the error names the socket, the address and the code", async () => {
    const first = contained({ sockets: { http: ANY } });
    const { port } = addressOf(first) as { port: number };
    const again = () => new Container({ sockets: { other: ANY, web: { ...ANY, port } } });
    expect(again).toThrow(
      `The socket web of the container (127.0.0.1:${port}): another program listens there (EADDRINUSE)`,
    );
    expect(again).toThrow(expect.objectContaining({ code: "EADDRINUSE" }));
    await first.stop();
    const second = contained({ sockets: { web: { ...ANY, port } } });
    expect(addressOf(second, "web")).toEqual({ host: "127.0.0.1", port });
  });

  test("of no interface of this machine: EADDRNOTAVAIL", () => {
    expect(() => contained({ sockets: { http: { host: "192.0.2.1", port: 0 } } })).toThrow(
      /192\.0\.2\.1:0.*no network interface has this address \(EADDRNOTAVAIL\)/,
    );
  });

  test.skipIf(process.getuid!() !== 0)("that the user may not have: EACCES", async () => {
    // A directory of root's.
    const path = `${temporaryDirectory()}/web.sock`;
    const script = fixture("serving/opens.mjs");
    const ran = await runScript(script, { args: [JSON.stringify({ path })], uid: 65_534 });
    expect(ran.stdout).toContain(`(${path}): this user may not listen there (EACCES)`);
  });

  test("in a directory that does not exist", () => {
    const path = `${temporaryDirectory()}/missing/web.sock`;
    expect(() => contained({ sockets: { http: { path } } })).toThrow(
      `The socket http of the container (${path}): its directory does not exist (ENOENT)`,
    );
  });

  test("of Unix that is too long: ENAMETOOLONG", () => {
    const path = `/tmp/${"x".repeat(120)}.sock`;
    expect(() => contained({ sockets: { http: { path } } })).toThrow(
      "its path is too long (ENAMETOOLONG)",
    );
    expect(existsSync(path.slice(0, 107))).toBe(false);
  });

  test.each<[unknown, string]>([
    [
      { web: { port: 80, hots: "::" } },
      "Unknown option `sockets.web.hots` of a socket. There are: port, host, path, fd",
    ],
    [{ web: { port: 65_536 } }, "sockets.web.port"],
    [{ web: { port: "80" } }, "sockets.web.port"],
    [{ web: { host: "example.org", port: 0 } }, 'an IP address or "localhost"'],
    [{ web: { fd: 2 } }, "sockets.web.fd"],
    [{ web: {} }, "Expected `sockets.web` to have `port` (and `host`), `path` or `fd`"],
    [{ web: { host: "::" } }, "Expected `sockets.web` to have"],
    [{ web: { port: 0, path: "/tmp/a.sock" } }, "Expected `sockets.web` to have"],
    [{ web: { path: "/tmp/a.sock", host: "::" } }, "Expected `sockets.web` to have"],
    [{ web: 80 }, "sockets.web"],
    [{ web: null }, "sockets.web"],
    ["web", "an object of sockets by name"],
  ])("that is wrong, %j, is a TypeError", (sockets, message) => {
    const options = { sockets } as ContainerOptions;
    expect(() => new Container(options)).toThrow(TypeError);
    expect(() => new Container(options)).toThrow(message);
  });
});

describe("the file of a Unix socket", () => {
  const LISTENS = `require("node:net").createServer().listen(process.argv[1]); console.log(1)`;

  test("is replaced when nobody listens on it any more", async () => {
    const path = `${temporaryDirectory()}/web.sock`;
    const died = spawn(process.execPath, ["-e", LISTENS, path], { stdio: ["ignore", "pipe", 2] });
    await once(died.stdout!, "data");
    await vi.waitUntil(() => existsSync(path), SOON);
    died.kill("SIGKILL");
    await once(died, "close");
    expect(existsSync(path)).toBe(true);
    const container = contained({ sockets: { http: { path } } });
    container.run(new Web(), { count: 1 });
    expect(await whoami({ path })).toMatchObject({ num: 0 });
    await container.stop();
    expect(existsSync(path)).toBe(false);
  });

  test("stays when somebody listens on it, who goes on", async () => {
    const path = `${temporaryDirectory()}/web.sock`;
    const first = contained({ sockets: { http: { path } } });
    expect(() => contained({ sockets: { http: { path } } })).toThrow(
      `The socket http of the container (${path}): another program listens there (EADDRINUSE)`,
    );
    first.run(new Web(), { count: 1 });
    expect(await whoami({ path })).toMatchObject({ num: 0 });
  });

  test("that is no socket is left alone", () => {
    const path = `${temporaryDirectory()}/notes.txt`;
    writeFileSync(path, "precious");
    expect(() => contained({ sockets: { http: { path } } })).toThrow(/EADDRINUSE/);
    expect(readFileSync(path, "utf8")).toBe("precious");
  });

  test("stays over restarts of instances", async () => {
    const path = `${temporaryDirectory()}/web.sock`;
    const container = contained({ sockets: { http: { path } } });
    container.run(new Web(), { count: 2 });
    await container.waitUntilReady();
    const { ino } = statSync(path);
    await container.restart();
    expect(statSync(path).ino).toBe(ino);
    expect(await whoami({ path })).toMatchObject({ generation: 2 });
  });
});

describe("sockets that the program was given", () => {
  const SCRIPT = fixture("serving/given.mjs");

  /** Starts the script with a listening socket as descriptor 3, and closes it here. */
  async function startGiven(
    options: unknown,
    env: Record<string, string>,
    isActivated = true,
    script = SCRIPT,
  ) {
    const server = http.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as net.AddressInfo;
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const pid = isActivated ? "export LISTEN_PID=$$; " : "";
    const child = spawn(
      "/bin/sh",
      ["-c", `${pid}exec "$0" "$@"`, process.execPath, script, JSON.stringify(options)],
      { stdio: ["ignore", "pipe", "inherit", fd], env: { ...process.env, ...env } },
    );
    server.close();
    const lines: string[] = [];
    child
      .stdout!.setEncoding("utf8")
      .on("data", (text: string) => lines.push(...text.trim().split("\n")));
    const ended = once(child, "close");
    return { child, ended, lines, address: { host: "127.0.0.1", port } };
  }

  const ACTIVATED = { LISTEN_FDS: "1", LISTEN_FDNAMES: "http" };

  test.each<[string, Record<string, SocketOptions>, Record<string, string>]>([
    ["by systemd, by name", { admin: ANY, http: ANY }, ACTIVATED],
    ["by systemd, in place of one that is in use", { http: { path: "/proc/no.sock" } }, ACTIVATED],
    ["by systemd, without names", { http: ANY }, { LISTEN_FDS: "1" }],
    ["as a descriptor", { http: { fd: 3 } }, {}],
  ])("%s", async (_, sockets, env) => {
    const { child, ended, lines, address } = await startGiven({ sockets }, env);
    // It waits for the first instance.
    expect(await whoami(address)).toMatchObject({ via: "http" });
    await vi.waitFor(() => expect(lines).toContain(JSON.stringify(address)), SOON);
    // Instances are not who was given the sockets.
    expect(lines).toContain("LISTEN_FDS in instances: undefined");
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
    await expect(Client.connect(address)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("for another process are not taken", async () => {
    const env = { ...ACTIVATED, LISTEN_PID: "1" };
    const started = await startGiven({ sockets: { http: ANY } }, env, false);
    const { child, ended, lines, address } = started;
    await vi.waitUntil(() => lines.length >= 2, SOON);
    const own = JSON.parse(lines.find((line) => line.startsWith("{"))!) as { port: number };
    expect(own.port).not.toBe(address.port);
    child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
  });

  test("that are not open, or no sockets, are named", () => {
    expect(() => contained({ sockets: { http: { fd: 9999 } } })).toThrow(
      /The socket http of the container \(descriptor 9999\): .*\(E[A-Z]+\)/,
    );
    const ran = spawnSync(process.execPath, [fixture("serving/opens.mjs"), '{"fd":3}'], {
      stdio: ["ignore", "pipe", "inherit", "ignore"],
    });
    expect(String(ran.stdout)).toContain("descriptor 3): it is no socket that can listen (EINVAL)");
  });

  test("stay open after the container, which has not opened them", async () => {
    const { ended, lines } = await startGiven({ fd: 3 }, {}, false, fixture("serving/opens.mjs"));
    expect(await ended).toEqual([0, null]);
    expect(lines).toEqual(["descriptor 3 is a socket: true"]);
  });
});

test("a program that is killed leaves no listener", async () => {
  const started = startScript(fixture("serving/given.mjs"), {
    args: [JSON.stringify({ sockets: { http: ANY } })],
  });
  const ended = once(started, "close");
  const [line] = (await once(started.stdout!, "data")) as [Buffer];
  const address = JSON.parse(String(line).split("\n")[0]!) as SocketAddress;
  await whoami(address);
  started.kill("SIGKILL");
  await ended;
  await vi.waitFor(
    () => expect(Client.connect(address)).rejects.toMatchObject({ code: "ECONNREFUSED" }),
    SOON,
  );
});

test("an instance that asks for a socket that its container has not fails with the names of those it has", async () => {
  const container = contained({ sockets: { http: ANY } });
  container.run(new Web({ names: ["admin"] }), { count: 1 });
  await expect(container.waitUntilReady()).rejects.toMatchObject({
    cause: expect.objectContaining({
      message: 'Expected the name of a socket of the container (http), got "admin" (a string)',
    }),
  });
  const none = contained();
  none.run(new Web(), { count: 1 });
  await expect(none.waitUntilReady()).rejects.toMatchObject({
    cause: expect.objectContaining({
      message: expect.stringContaining("has no sockets: name them in its option `sockets`"),
    }),
  });
});
