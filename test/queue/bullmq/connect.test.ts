import { once } from "node:events";
import { createServer } from "node:net";
import { Queue, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { afterEach, expect, it } from "vitest";
import { checkServer, makeClient, SILENCE_LIMIT_MS } from "../../../src/queue/bullmq/connect.js";
import type { Connection } from "../../../src/queue/bullmq/engine-options.js";
import { describeWithRedis, startRedis } from "../../support/redis-server.js";
import { fixture, outputOf, runScript, startScript } from "../../support/run-script.js";

const RETRY = { min: 10, max: 100, factor: 2 };

const clients: Redis[] = [];

afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
});

async function open(url: Connection, holdsLoop = true): Promise<Redis> {
  const client = await makeClient(url, { retry: RETRY, holdsLoop });
  clients.push(client);
  return client;
}

/** `once` of Node would reject with the errors of the connection. */
async function event(client: Redis, name: string): Promise<unknown> {
  return await new Promise((resolve) => void client.once(name, resolve));
}

describeWithRedis("a client of Redis", () => {
  it("goes to the `url` among options, as BullMQ does, and its commands wait whatever they say", async () => {
    const server = await startRedis();
    const url = `${server.url}/1`;
    const options = { url, db: 2, enableOfflineQueue: false, maxRetriesPerRequest: 1 };
    await checkServer(options);
    const client = await open(options);
    await client.set("a", "1");
    const [plain, other] = [await open(url), await open(server.url)];
    expect(await plain.get("a")).toBe("1");
    expect(await other.get("a")).toBeNull();
  });

  it("reconnects to a server that was killed, and its commands wait meanwhile", async () => {
    const server = await startRedis({ appendOnly: true });
    const client = await open(server.url);
    await client.set("a", "1");
    await server.kill();
    const answer = client.get("a");
    await event(client, "reconnecting");
    await server.restart();
    expect(await answer).toBe("1");
  });

  it("waits longer after each failure, up to the limit, and begins anew once it was connected", async () => {
    const server = await startRedis();
    const client = await open(server.url);
    await event(client, "ready");
    const pauses: number[] = [];
    client.on("reconnecting", (pause: number) => pauses.push(pause));
    await server.kill();
    while (pauses.length < 6) await event(client, "reconnecting");
    expect(pauses.slice(0, 6)).toEqual([10, 20, 40, 80, 100, 100]);
    await server.restart();
    await event(client, "ready");
    pauses.length = 0;
    await server.kill();
    await event(client, "reconnecting");
    expect(pauses[0]).toBe(10);
  });

  it("connects anew when the server does not answer, and so does a copy of it; not where nothing was asked", async () => {
    const [server, other] = await Promise.all([startRedis(), startRedis()]);
    const idle = await open(other.url);
    await idle.ping();
    let isIdleClosed = false;
    idle.on("close", () => (isIdleClosed = true));
    const client = await open(server.url);
    const copy = client.duplicate();
    clients.push(copy);
    await Promise.all([client.set("a", "1"), copy.ping()]);
    await server.kill("SIGSTOP");
    const began = performance.now();
    const answers = [client.get("a"), copy.get("a")];
    await Promise.all([event(client, "close"), event(copy, "close")]);
    expect(performance.now() - began).toBeGreaterThan(SILENCE_LIMIT_MS);
    await server.kill("SIGCONT");
    expect(await Promise.all(answers)).toEqual(["1", "1"]);
    expect(isIdleClosed).toBe(false);
  }, 120_000);

  it("passes no functions on, and takes options as well as URLs", async () => {
    const server = await startRedis();
    const client = await makeClient(
      { host: "127.0.0.1", port: server.port, retryStrategy: () => null },
      { retry: RETRY, holdsLoop: true },
    );
    clients.push(client);
    await client.ping();
    await server.kill();
    await event(client, "reconnecting");
    await server.restart();
    expect(await client.ping()).toBe("PONG");
  });

  it("serves BullMQ, whose worker copies it to wait for jobs", async () => {
    const server = await startRedis();
    const queue = new Queue("q", { connection: await open(server.url) });
    const worker = new Worker("q", ({ data }) => Promise.resolve(data), {
      connection: await open(server.url),
    });
    const done = new Promise(
      (resolve) => void worker.once("completed", (_job, result) => resolve(result)),
    );
    await queue.add("a", 5);
    expect(await done).toBe(5);
    await worker.close();
    await queue.close();
  });
});

describeWithRedis("a program that is finished", () => {
  const program = fixture("queue-client.mjs");

  it("ends, connected or not, if its client does not hold it", async () => {
    const server = await startRedis();
    const ran = await runScript(program, { args: [server.url, "free", "ready"] });
    expect(ran).toMatchObject({ code: 0, stdout: "ready\n", stderr: "" });
    await server.stop();
    const away = await runScript(program, { args: [server.url, "free", "reconnecting"] });
    expect(away).toMatchObject({ code: 0, stdout: "reconnecting\n", stderr: "" });
  });

  it("ends within the time of an attempt while nothing answers", async () => {
    // Takes connections and never answers, so that no ready check ends.
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as { port: number };
    const url = `redis://127.0.0.1:${port}`;
    const ran = await runScript(program, { args: [url, "free", "connect"] });
    expect(ran).toMatchObject({ code: 0, stdout: "connect\n" });
    silent.close();
  });

  it("goes on if its client holds it", async () => {
    const server = await startRedis();
    const child = startScript(program, { args: [server.url, "holds", "ready"] });
    await once(child.stdout!, "data");
    await new Promise((resolve) => void setTimeout(resolve, 500));
    expect(child.exitCode).toBe(null);
    const ended = outputOf(child);
    child.kill();
    expect(await ended).toMatchObject({ signal: "SIGTERM" });
  });
});

it("a connection that is no URL of Redis, or has a `keyPrefix`, is a TypeError without the password", async () => {
  const options = { retry: RETRY, holdsLoop: true };
  await expect(makeClient("http://:secret@host", options)).rejects.toThrow(
    new TypeError(
      "Expected `connection` to be a URL that begins with redis:// or rediss://, got one that begins with http://",
    ),
  );
  const error: unknown = await makeClient("redis://:secret@host:port", options).catch(
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(TypeError);
  expect(String(error)).toMatch(/cannot be parsed/);
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("secret");
  await expect(makeClient({ keyPrefix: "a" }, options)).rejects.toThrow(/the option `prefix`/);
  const inUrl = makeClient("redis://127.0.0.1:1?keyPrefix=a", options);
  await expect(inUrl).rejects.toThrow(/the option `prefix`/);
});

it.each([
  ["hostname", "`host`"],
  ["uri", "`url`"],
  ["user", "`username`"],
  ["pass", "`password`"],
  ["database", "`db`"],
  ["socket", "`host` and `port`, or `path`, and `tls`"],
])(
  "a connection with `%s`, an option of other clients, is a TypeError that says %s",
  async (name, own) => {
    const connection = { [name]: "other" } as object;
    await expect(makeClient(connection, { retry: RETRY, holdsLoop: true })).rejects.toThrow(
      new TypeError(
        `Expected \`connection\` to have options of ioredis, got \`${name}\`: use ${own}`,
      ),
    );
  },
);
