/** `instance.serve`: listens, is ready, tells of its health, and drains so that no client sees a reset. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import type { Container, RunOptions, Service } from "forkmap/container";
import { describe, expect, test, vi } from "vitest";
import {
  ClosesItself,
  Expressed,
  Fastified,
  Http2,
  Plain,
  Secure,
  ServesTakenApart,
  TakenApart,
  Wrong,
} from "../fixtures/serving/servers.mjs";
import { Web } from "../fixtures/serving/web.mjs";
import { isAlive } from "../support/leftovers.js";
import { addressOf, ANY, ask, Client, contained, whoami } from "../support/serving.js";
import { SOON } from "../support/soon.js";
import { temporaryDirectory } from "../support/temporary.js";

type Way = "fork" | "spawn" | "thread";

async function served(
  service: Service,
  options: RunOptions = {},
  startMethod?: Way,
): Promise<Container> {
  const container = contained({ sockets: { http: ANY }, startMethod });
  container.run(service, { count: 1, ...options });
  await container.waitUntilReady();
  return container;
}

/** Resolves once the instance has been asked to stop and does not accept any more: others would. */
async function stopBegun(container: Container): Promise<void> {
  await vi.waitUntil(() => container.instances[0]?.state === "stopping", SOON);
  // The message is on its way.
  await sleep(200);
}

const CLOSES = /\r\nconnection: close\r\n/i;

describe("a server of", () => {
  const port = (container: Container) => (addressOf(container) as { port: number }).port;

  test("node:https", async () => {
    const folder = temporaryDirectory();
    const [key, cert] = [`${folder}/key.pem`, `${folder}/cert.pem`];
    execFileSync(
      "openssl",
      // prettier-ignore
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
      { stdio: "ignore" },
    );
    const [keyText, ca] = [readFileSync(key, "utf8"), readFileSync(cert, "utf8")];
    const container = await served(new Secure(keyText, ca));
    const agent = new https.Agent({ keepAlive: true, ca });
    const get = async (path: string) => {
      const request = https.get({ host: "127.0.0.1", port: port(container), path, agent });
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      return {
        headers: response.headers,
        body: await text(response),
        reused: request.reusedSocket,
      };
    };
    try {
      expect(JSON.parse((await get("/")).body)).toMatchObject({ via: "https" });
      const slow = get("/slow/800");
      await sleep(100);
      const stopped = container.stop();
      const { headers, body, reused } = await slow;
      expect(reused).toBe(true);
      expect(JSON.parse(body)).toMatchObject({ via: "https" });
      expect(headers.connection).toBe("close");
      await stopped;
    } finally {
      agent.destroy();
    }
  });

  test("HTTP/2: streams are finished, and the session ends", async () => {
    const container = await served(new Http2());
    const session = http2.connect(`http://127.0.0.1:${port(container)}`);
    const failed = vi.fn();
    session.on("error", failed);
    const get = async (path: string) => {
      const stream = session.request({ ":path": path });
      const body = await text(stream);
      return JSON.parse(body) as object;
    };
    expect(await get("/")).toMatchObject({ via: "http2" });
    const slow = get("/slow/800");
    await sleep(100);
    const closed = once(session, "close");
    const stopped = container.stop();
    expect(await slow).toMatchObject({ via: "http2" });
    await closed;
    await stopped;
    expect(failed).not.toHaveBeenCalled();
  });

  test("node:net: what a connection still asks is answered until the grace ends", async () => {
    const container = await served(new Plain());
    const client = await Client.connect(addressOf(container));
    await client.send("hello").until("HELLO");
    client.send("slow one");
    await sleep(100);
    const stopped = container.stop(3000);
    await client.until("SLOW ONE");
    await client.send("later").until("LATER");
    expect(client.isClosed).toBe(false);
    await client.ended();
    await stopped;
  });

  test("node:net: ends as soon as its clients have", async () => {
    const container = await served(new Plain());
    const client = await Client.connect(addressOf(container));
    await client.send("hello").until("HELLO");
    const stopped = container.stop(60_000);
    await stopBegun(container);
    client.socket.end();
    await client.ended();
    await stopped;
  });

  test.each([
    ["Express", Expressed, "express"],
    ["Fastify", Fastified, "fastify"],
  ] as const)("%s", async (_, App, framework) => {
    const container = await served(new App());
    const agent = new http.Agent({ keepAlive: true });
    try {
      const { headers, body } = await ask(addressOf(container), "/", agent);
      expect(headers["x-framework"]).toBe(framework);
      expect(JSON.parse(body)).toMatchObject({ via: framework, num: 0 });
      const slow = ask(addressOf(container), "/slow/800", agent);
      await sleep(100);
      const stopped = container.stop();
      const answer = await slow;
      expect(answer.headers.connection).toBe("close");
      expect(JSON.parse(answer.body)).toMatchObject({ via: framework });
      await stopped;
    } finally {
      agent.destroy();
    }
  });
});

test.each(["fork", "spawn", "thread"] as const)(
  "what `run` is given can be taken apart: %s",
  async (way) => {
    const container = await served(new TakenApart(), {}, way);
    expect(container.instances).toMatchObject([{ state: "ready", status: "listens" }]);
    const socket = net.connect(addressOf(container) as net.TcpSocketConnectOpts);
    expect(await text(socket)).toBe("taken apart\n");
    const serving = await served(new ServesTakenApart(), {}, way);
    expect((await ask(addressOf(serving))).body).toBe("taken apart\n");
  },
);

describe.each(["fork", "spawn", "thread"] as const)("an instance by %s that is to stop", (way) => {
  test("answers what is in flight and what comes over kept-alive connections, then closes", async () => {
    const container = await served(new Web(), {}, way);
    const address = addressOf(container);
    const clients = await Promise.all(Array.from({ length: 4 }, () => Client.connect(address)));
    const [slow, asksLater, idle, stream] = clients as [Client, Client, Client, Client];
    for (const client of clients) await client.get("/").until("}");
    for (const client of clients) {
      expect(client.received).not.toMatch(CLOSES);
      client.received = "";
    }
    slow.get("/slow/1500");
    await stream.get("/stream/8/200").until("part 0");
    const stopped = container.stop(20_000);
    await stopBegun(container);
    expect(idle.isClosed).toBe(false);
    await asksLater.get("/").until("}");
    expect(asksLater.received).toMatch(CLOSES);
    await asksLater.ended();
    await slow.until("}");
    expect(slow.received).toMatch(CLOSES);
    await slow.ended();
    await stream.until("last part");
    await stream.ended();
    expect(stream.received).toContain("part 7\n");
    // It may believe that the connection is open for as long as usual, so that comes last.
    await idle.ended();
    expect(idle.received).toBe("");
    await stopped;
    expect(container.size).toBe(0);
  });
});

describe("while it drains", () => {
  test("a request that is pipelined behind a slow one is answered too", async () => {
    const container = await served(new Web());
    const client = await Client.connect(addressOf(container));
    client.get("/slow/600").get("/slow/1");
    // Accepted after the client, so that has been too.
    await whoami(addressOf(container));
    const stopped = container.stop();
    await client.ended();
    // At least the first; and no half of another.
    expect(client.received.match(/HTTP\/1\.1 200/g)!.length).toBe(
      client.received.match(/}/g)!.length,
    );
    expect(client.received).toMatch(CLOSES);
    await stopped;
  });

  test("a kept-alive connection is open for as long as the server's keepAliveTimeout, then closed", async () => {
    const container = await served(new Web({ options: { keepAliveTimeout: 1500 } }));
    const client = await Client.connect(addressOf(container));
    await client.get("/").until("}");
    const idleSince = performance.now();
    const stopped = container.stop(60_000);
    await client.ended();
    // A timer may be a little early.
    expect(performance.now() - idleSince).toBeGreaterThan(1400);
    await stopped;
  });

  test("a connection without a request yet is answered when it makes one", async () => {
    const container = await served(new Web());
    const [silent, asks] = [
      await Client.connect(addressOf(container)),
      await Client.connect(addressOf(container)),
    ];
    // Both are accepted before this one is.
    await whoami(addressOf(container));
    const stopped = container.stop(20_000);
    await stopBegun(container);
    expect(asks.isClosed).toBe(false);
    await asks.get("/").until("}");
    expect(asks.received).toMatch(CLOSES);
    await asks.ended();
    // One that never asks does not keep the instance until the end of the grace.
    await silent.ended();
    await stopped;
  });

  test("a client that never ends its request is cut off within the grace", async () => {
    const container = await served(new Web());
    const { pid } = container.instances[0]!;
    const client = await Client.connect(addressOf(container));
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nonly this");
    const half = await Client.connect(addressOf(container));
    half.send("GET / HTTP/1.1\r\nHo");
    await whoami(addressOf(container));
    await container.stop(2500);
    expect(isAlive(pid!)).toBe(false);
    await vi.waitUntil(() => client.isClosed && half.isClosed, SOON);
  });

  test("a response that takes longer than the grace ends with the instance", async () => {
    const container = await served(new Web());
    const { pid } = container.instances[0]!;
    const client = (await Client.connect(addressOf(container))).get("/never");
    await whoami(addressOf(container));
    const begun = performance.now();
    await container.stop(1500);
    expect(performance.now() - begun).toBeGreaterThan(900);
    expect(isAlive(pid!)).toBe(false);
    await vi.waitUntil(() => client.isClosed, SOON);
    expect(client.received).toBe("");
  });

  test("an instance whose loop is blocked is killed after the grace", async () => {
    const container = await served(new Web());
    const { pid } = container.instances[0]!;
    const client = (await Client.connect(addressOf(container))).get("/block");
    await sleep(200);
    await container.stop(700);
    expect(isAlive(pid!)).toBe(false);
    await vi.waitUntil(() => client.isClosed, SOON);
  });

  test("new connections wait for another instance", async () => {
    const container = await served(new Web(), { restart: "always" });
    const client = (await Client.connect(addressOf(container))).get("/slow/1000");
    await whoami(addressOf(container));
    const restarted = container.restart();
    await stopBegun(container);
    // None listens now: the old one drains, and the new one starts after it.
    expect(await whoami(addressOf(container))).toMatchObject({ generation: 2, num: 0 });
    await client.until('"generation":1');
    await restarted;
  });
});

test("a loop that is blocked is found by healthCheckTimeout; one that turns is not", async () => {
  const container = contained({ sockets: { http: ANY } });
  container.run(new Web(), {
    count: 2,
    restart: "on-failure",
    backoff: { min: 1, max: 1 },
    healthCheckTimeout: 1000,
  });
  await container.waitUntilReady();
  const before = container.instances.map(({ pid }) => pid);
  await sleep(2500);
  expect(container.instances.map(({ pid }) => pid)).toEqual(before);
  const client = (await Client.connect(addressOf(container))).get("/block");
  await vi.waitUntil(() => client.isClosed, SOON);
  // The client may learn of its end before the container does.
  await vi.waitUntil(() => container.statistics.restarts === 1, SOON);
  await container.waitUntilReady();
  const generations = container.instances.map(({ generation }) => generation);
  expect(generations.toSorted()).toEqual([1, 2]);
  expect(container.statistics).toMatchObject({ restarts: 1, failures: 1 });
  await whoami(addressOf(container));
});

test("a server that is closed by its own program ends `serve`, and the service goes on", async () => {
  const container = await served(new ClosesItself());
  expect(await ask(addressOf(container))).toMatchObject({ body: "last" });
  await vi.waitFor(() => expect(container.instances[0]!.status).toBe("after serve"), SOON);
  expect(container.instances[0]!.state).toBe("ready");
  await container.stop();
});

test.each([
  ["nothing", "Expected a server of node:net, node:http or one of their kind"],
  ["object", "Expected a server of node:net, node:http or one of their kind"],
  ["app", "of an app of Express: http.createServer(app)"],
  ["listening", "The server listens already"],
])("%s in place of a server is an error that says so", async (what, message) => {
  const container = contained({ sockets: { http: ANY } });
  container.run(new Wrong(what), { count: 1 });
  await expect(container.waitUntilReady()).rejects.toMatchObject({
    cause: expect.objectContaining({ message: expect.stringContaining(message) }),
  });
});
