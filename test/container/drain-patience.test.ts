/** Draining ends nothing that goes on, however slowly; and a stop ends, whatever stands still. */
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Container } from "forkmap/container";
import { afterEach, expect, it, vi } from "vitest";
import { Patient } from "../fixtures/serving/patient.mjs";
import { descendants } from "../support/leftovers.js";
import { SOON } from "../support/soon.js";

/** Longer than an idle connection is kept: 5 s. */
const SLOW_MS = 6500;
const PIECES = 13;

let container: Container;

afterEach(async () => {
  await container.stop(false);
  await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
});

async function connected(): Promise<net.Socket> {
  const socket = net.connect((container.address("http") as { port: number }).port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

async function started(): Promise<void> {
  container = new Container({ sockets: { http: { host: "127.0.0.1", port: 0 } } });
  container.run(new Patient(), { count: 1 });
  await container.waitUntilReady();
}

it("a head and a body that come slowly, and a connection that has changed its protocol, live on", async () => {
  await started();
  const [head, body, tunnel] = [await connected(), await connected(), await connected()];
  tunnel.write("GET /tunnel HTTP/1.1\r\nhost: a\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n");
  expect(String((await once(tunnel, "data"))[0])).toContain("101");
  body.write("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 13\r\n\r\n");
  expect(String((await once(body, "data"))[0])).toContain("100 Continue");
  const text = "GET / HTTP/1.1\r\nhost: a\r\nx-slow: and steady\r\n\r\n";
  const answers = [head, body].map((socket) => received(socket));
  const stopped = container.stop(20_000);
  for (let i = 0; i < PIECES; i += 1) {
    head.write(text.slice((i * text.length) / PIECES, ((i + 1) * text.length) / PIECES));
    body.write("x");
    await sleep(SLOW_MS / PIECES);
  }
  expect(await Promise.all(answers)).toEqual([
    expect.stringContaining("got 0"),
    expect.stringContaining("got 13"),
  ]);
  tunnel.write("still there");
  expect(String((await once(tunnel, "data"))[0])).toBe("still there");
  tunnel.end();
  await stopped;
});

it("a stop returns although the fork server is frozen", async () => {
  await started();
  const { pid } = container.instances[0]!;
  const server = descendants().find((each) => each.pid === pid)!.parent;
  process.kill(server, "SIGSTOP");
  await container.stop(300);
  expect(container.isRunning).toBe(false);
  expect(descendants().some((each) => each.pid === server)).toBe(false);
});

async function received(socket: net.Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}
