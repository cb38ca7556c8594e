import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { inspect } from "node:util";
import { Queue, UnrecoverableError, Worker } from "bullmq";
import type { EngineError } from "forkmap";
import { Redis } from "ioredis";
import { afterEach, expect, it } from "vitest";
import { checkServer, makeClient } from "../../../src/queue/bullmq/connect.js";
import type { Connection } from "../../../src/queue/bullmq/engine-options.js";
import { describeWithRedis, startRedis } from "../../support/redis-server.js";
import { fixture, startScript } from "../../support/run-script.js";

/** In all URLs of these tests; no error may have it. */
const SECRET = "sesame";

async function refusal(connection: Connection, prefix?: string): Promise<[string, string]> {
  let ticks = 0;
  // Not by the clock: this process may be kept waiting for a processor.
  const timer = setInterval(() => (ticks += 1), 100);
  const error: unknown = await checkServer(connection, prefix).then(
    () => undefined,
    (error: unknown) => error,
  );
  clearInterval(timer);
  expect(error).toMatchObject({ name: "EngineError", code: "ERR_PARALLEL_ENGINE" });
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(SECRET);
  expect(ticks).toBeLessThan(20);
  const { reason, message } = error as EngineError;
  return [reason, message];
}

const open: { close(): unknown }[] = [];

afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(server);
  return (server.address() as AddressInfo).port;
}

it("a server that cannot be reached", async () => {
  expect(await refusal(`redis://:${SECRET}@127.0.0.1:1`)).toEqual([
    "unreachable",
    "Redis at 127.0.0.1:1 cannot be reached: nothing listens there (ECONNREFUSED): start it, or correct `connection`",
  ]);
  const [reason, message] = await refusal(`redis://:${SECRET}@no-such-host.invalid`);
  expect(reason).toBe("unreachable");
  // By the network of the machine, there may be no server of names that answers.
  expect(message).toMatch(
    /^Redis at no-such-host\.invalid:6379 (cannot be reached|does not answer)/,
  );
  expect(await refusal("/nowhere/redis.sock")).toEqual([
    "unreachable",
    "Redis at /nowhere/redis.sock cannot be reached: there is no such socket (ENOENT): start it, or correct the path",
  ]);
  expect(await refusal({ sentinels: [{ host: "127.0.0.1", port: 1 }], name: "main" })).toEqual([
    "unreachable",
    "Redis at the sentinels 127.0.0.1:1 cannot be reached: none of them answers: start one, or correct `connection`",
  ]);
});

it("an address from which nothing comes back", async () => {
  const child = startScript(fixture("no-accept.mjs"));
  const [line] = (await once(child.stdout!, "data")) as [Buffer];
  const port = Number(line.toString());
  // Until one of them waits.
  const filling: Socket[] = [];
  for (let isTaken = true; isTaken;) {
    const socket = connect(port, "127.0.0.1");
    filling.push(socket.on("error", () => {}));
    const waited = new Promise<false>((resolve) => void setTimeout(resolve, 300, false));
    isTaken = await Promise.race([once(socket, "connect").then(() => true), waited]);
  }
  expect(await refusal(`redis://:${SECRET}@127.0.0.1:${port}`)).toEqual([
    "unreachable",
    `Redis at 127.0.0.1:${port} does not answer within 1400 ms: correct \`connection\`, or open the firewall`,
  ]);
  for (const socket of filling) socket.destroy();
  child.kill("SIGKILL");
});

it("something else than Redis", async () => {
  const web = await listening(http.createServer());
  expect(await refusal(`redis://:${SECRET}@127.0.0.1:${web}`)).toEqual([
    "unreachable",
    `Redis at 127.0.0.1:${web} answers, but not in the protocol of Redis: correct the host and port of \`connection\`; something else may listen there`,
  ]);
  expect(await refusal(`rediss://:${SECRET}@127.0.0.1:${web}`)).toMatchObject(["tls", /TLS/]);
  const closing = await listening(createServer((socket) => void socket.destroy()));
  expect((await refusal(`redis://127.0.0.1:${closing}`))[1]).toMatch(
    /closed the connection without an answer/,
  );
});

describeWithRedis("checkServer", () => {
  it("is content with a server as it must be, at any form of address, and leaves nothing there", async () => {
    const server = await startRedis();
    await checkServer(server.url);
    await checkServer(`redis://localhost:${server.port}/3`);
    await checkServer(server.socket);
    await checkServer({ host: "127.0.0.1", port: server.port }, "other");
    for (const database of [0, 3]) {
      const client = new Redis(server.socket, { db: database });
      expect(await client.keys("*")).toEqual([]);
      client.disconnect();
    }
  });

  it("names what is wrong with the login", async () => {
    const server = await startRedis({ password: SECRET, users: [`app on >${SECRET} ~* &* +@all`] });
    const at = `127.0.0.1:${server.port}`;
    await checkServer(server.url);
    await checkServer(`redis://app:${SECRET}@${at}`);
    expect(await refusal(`redis://${at}`)).toEqual([
      "denied",
      `Redis at ${at} needs a password (NOAUTH): give \`connection\` one, as in redis://:password@host`,
    ]);
    expect(await refusal(`redis://:${SECRET}x@${at}`)).toEqual([
      "denied",
      `Redis at ${at} does not accept the password of the user default, or does not know the user (WRONGPASS): correct \`connection\``,
    ]);
    expect((await refusal(`redis://nobody:${SECRET}@${at}`))[1]).toMatch(/of the user "nobody"/);
    // Where the user default needs no password, the server answers questions after a wrong one.
    const free = await startRedis({ users: [`app on >${SECRET} ~* &* +@all`] });
    expect(await refusal(`redis://app:${SECRET}x@127.0.0.1:${free.port}`)).toMatchObject([
      "denied",
      /WRONGPASS/,
    ]);
  });

  it.each([
    ["~bull:* &bull:* +@all -info", "does not let .* run INFO: give the user the right \\+info$"],
    ["~other:* &bull:* +@all", "refuses .*: give the user ~bull:\\*$"],
    ["%R~bull:* &bull:* +@all", "refuses .*: give the user ~bull:\\*$"],
    ["~bull:* resetchannels +@all", "give the user &bull:\\*$"],
    ["~bull:* &bull:* +@all -zadd -xtrim", "give the user \\+zadd \\+xtrim$"],
    ["~bull:* &bull:* +@all -del", "give the user \\+del$"],
    ["~bull:* &bull:* +@all -@scripting", "give the user \\+eval \\+evalsha$"],
    ["~bull:* &bull:* +@all -bzpopmin -client", "give the user \\+client\\|setname \\+bzpopmin$"],
    ["~bull:* &bull:* +@all -subscribe -publish", "give the user \\+subscribe \\+publish$"],
  ])("names the right that a user with %s lacks", async (rights, expected) => {
    const server = await startRedis({ users: [`app on >${SECRET} ${rights}`] });
    const [reason, message] = await refusal(`redis://app:${SECRET}@127.0.0.1:${server.port}`);
    expect(reason).toBe("denied");
    expect(message).toMatch(new RegExp(expected));
    expect(message).toContain('the user "app"');
    expect(await server.command("keys", "*")).toEqual([]);
  });

  it("names what is wrong with TLS", async () => {
    const server = await startRedis({ tlsNames: "DNS:localhost" });
    const { port, ca } = server;
    const trusted = { port, tls: { ca }, password: SECRET };
    await checkServer({ host: "localhost", port, tls: { ca } });
    expect(await refusal(`redis://:${SECRET}@127.0.0.1:${port}`)).toEqual([
      "tls",
      `Redis at 127.0.0.1:${port} speaks TLS only: use a URL that begins with rediss://, or the option \`tls\``,
    ]);
    expect(await refusal(`rediss://:${SECRET}@localhost:${port}`)).toEqual([
      "tls",
      `Redis at localhost:${port} has a certificate that is not trusted here (DEPTH_ZERO_SELF_SIGNED_CERT): give the certificate of its authority as the option \`tls.ca\`, or in NODE_EXTRA_CA_CERTS`,
    ]);
    expect(await refusal({ ...trusted, host: "127.0.0.1" })).toEqual([
      "tls",
      `Redis at 127.0.0.1:${port} has a certificate for another name (ERR_TLS_CERT_ALTNAME_INVALID): use a name that is in it, or the option \`tls.servername\``,
    ]);
    const strict = await startRedis({
      tlsNames: "DNS:localhost",
      config: ["tls-auth-clients yes"],
    });
    const without = { host: "localhost", port: strict.port, tls: { ca: strict.ca } };
    expect(await refusal(without)).toMatchObject(["tls", /asks for a certificate of the client/]);
    const plain = await startRedis();
    expect(await refusal(`rediss://:${SECRET}@127.0.0.1:${plain.port}`)).toMatchObject([
      "tls",
      /in TLS within 1400 ms: use a URL that begins with redis:|does not speak TLS/,
    ]);
  });

  it.each([
    [["maxmemory-policy allkeys-lru"], "expected noeviction: set it in redis.conf"],
    [["cluster-enabled yes"], "is part of a cluster, which is not supported yet"],
    [["maxmemory 1"], "does not take what is written to it: OOM"],
    [["replicaof 127.0.0.1 1"], "is a replica that is only read: .* its primary, 127.0.0.1:1$"],
  ])("refuses a server with %s", async (config, expected) => {
    const server = await startRedis({ config });
    const [reason, message] = await refusal(server.url);
    expect(reason).toBe("unsuitable");
    expect(message).toMatch(new RegExp(`^Redis at 127.0.0.1:${server.port} .*${expected}`));
  });

  it("refuses a version that is too old, a number of database that is not there, and a server that is full", async () => {
    const server = await startRedis({ config: ["maxclients 1"] });
    expect((await refusal(`${server.url}/99`))[1]).toMatch(/has no database of this number/);
    const held = connect(server.port, "127.0.0.1");
    await once(held, "connect");
    expect((await refusal(server.url))[1]).toMatch(/raise its `maxclients`$/);
    held.destroy();
    const answer = "redis_version:5.0.14\r\nloading:0\r\n";
    const old = createServer((socket) => {
      socket.on("data", () => void socket.write(`$${answer.length}\r\n${answer}\r\n`));
    });
    expect(await refusal(`redis://127.0.0.1:${await listening(old)}`)).toMatchObject([
      "unsuitable",
      /has version 5\.0\.14, expected 6\.2 or newer, or Valkey: update it$/,
    ]);
  });

  it("says that a server is stopped, or loads its data", async () => {
    // In microseconds; it answers after each 1024 keys.
    const server = await startRedis({ appendOnly: true, config: ["key-load-delay 200"] });
    const fill = "for i = 1, 40000 do redis.call('set', 'bull:' .. i, 'a') end";
    await server.command("eval", fill, 0);
    await server.kill("SIGSTOP");
    expect((await refusal(server.url))[1]).toMatch(/takes connections, but does not answer/);
    await server.kill("SIGCONT");
    await server.kill();
    await server.restart("listening");
    let [reason, message] = await refusal(server.url);
    // Where it has little processor time, it may be silent for long.
    while (/does not answer/.test(message!)) [reason, message] = await refusal(server.url);
    expect(reason).toBe("unreachable");
    expect(message).toMatch(/still loads its data \([\d.]+ %, about \d+ s more\): try again then$/);
    const client = await makeClient(server.url, {
      retry: { min: 10, max: 100, factor: 2 },
      holdsLoop: true,
    });
    expect(await client.exists("bull:40000")).toBe(1);
    client.disconnect();
    await checkServer(server.url);
  }, 90_000);

  const rules = Array.from(
    readFileSync(new URL("../../../docs/queue.md", import.meta.url), "utf8").matchAll(
      /^user (app on >.*)$/gm,
    ),
    ([, rule]) => rule!,
  );

  it.each(rules)("a user with the rights that docs/queue.md lists can do all: %s", async (rule) => {
    const server = await startRedis({ users: [rule] });
    // Older servers refuse a rule with a command that they do not know.
    const [setinfo] = (await server.command("command", "info", "client|setinfo")) as unknown[];
    if (setinfo !== null) await server.command("acl", "setuser", "app", "+client|setinfo");
    const url = `redis://app:password@127.0.0.1:${server.port}`;
    await checkServer(url);
    await useBullmq(url);
    expect(await server.command("acl", "log")).toEqual([]);
  });

  it("docs/queue.md has two such users", () => {
    expect(rules).toHaveLength(2);
  });
});

/** Jobs that succeed, fail, are tried again, wait, are given up and are removed. */
async function useBullmq(url: string): Promise<void> {
  const retry = { min: 10, max: 100, factor: 2 };
  const make = async () => await makeClient(url, { retry, holdsLoop: true });
  const clients = await Promise.all([make(), make()]);
  const [connection, other] = clients;
  const queue = new Queue("q", { connection });
  const worker = new Worker(
    "q",
    async (job) => {
      if (job.name === "fails") throw new Error("as it does");
      if (job.name === "never") throw new UnrecoverableError("as it does");
      await job.updateProgress(50);
      await job.log("half of it");
      if (job.name === "slow") await new Promise((resolve) => void setTimeout(resolve, 1500));
    },
    { connection: other, lockDuration: 1000, stalledInterval: 500, name: "machine" },
  );
  const errors: Error[] = [];
  worker.on("error", (error) => errors.push(error));
  let ended = 0;
  const all = new Promise<void>((resolve) => {
    const end = () => void (++ended === 8 && resolve());
    worker.on("completed", end).on("failed", (job) => {
      if (job?.finishedOn) end();
    });
  });
  const options = { attempts: 2, backoff: 50, removeOnComplete: { age: 10, count: 2 } };
  await queue.addBulk(["a", "b"].map((name) => ({ name, data: {}, opts: { jobId: name } })));
  for (const name of ["fails", "never", "slow", "last"]) await queue.add(name, {}, options);
  await queue.add("delayed", {}, { delay: 100, removeOnComplete: true });
  await queue.add("preferred", {}, { priority: 2, removeOnFail: true });
  await all;
  const removed = await queue.add("late", {}, { delay: 100_000 });
  await removed.remove();
  await queue.drain();
  await worker.close();
  await queue.close();
  for (const client of clients) client.disconnect();
  expect(errors).toEqual([]);
}
