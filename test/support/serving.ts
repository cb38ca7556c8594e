/** Containers that are stopped after their test, and clients of what their instances serve. Then no process and no file may remain. */
import { once } from "node:events";
import http, { type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import net from "node:net";
import { text } from "node:stream/consumers";
import { Container, type ContainerOptions, type SocketAddress } from "forkmap/container";
import { afterEach, expect, vi } from "vitest";
import { descendants, scratchDirectories } from "./leftovers.js";
import { SOON } from "./soon.js";

const open = new Set<Container>();
const clients = new Set<Client>();

/** A loopback address with any free port. */
export const ANY = { host: "127.0.0.1", port: 0 };

export function contained(options?: ContainerOptions): Container {
  const container = new Container(options);
  open.add(container);
  return container;
}

/** Where a socket of the container listens, for clients. */
export function addressOf(container: Container, name = "http"): SocketAddress {
  return container.address(name)!;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Makes a request over a connection of its own, or over one of the agent's. */
export async function ask(
  address: SocketAddress,
  path = "/",
  agent: http.Agent | false = false,
): Promise<Answer> {
  const where = "path" in address ? { socketPath: address.path } : address;
  const request = http.get({ ...where, path, agent });
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const { statusCode, headers } = response;
  return { status: statusCode!, headers, body: await text(response) };
}

/** What the services of fixtures/serving answer to `/`. */
export interface Whoami {
  readonly num: number;
  readonly generation: number;
  readonly kind: string;
  readonly pid: number;
  readonly thread: number;
  readonly parent: number | null;
  readonly via: string;
}

export async function whoami(address: SocketAddress): Promise<Whoami> {
  const { status, body } = await ask(address);
  expect(status, body).toBe(200);
  return JSON.parse(body) as Whoami;
}

/** A connection that sends and receives text as it is. */
export class Client {
  readonly socket: net.Socket;
  /** All that has come. */
  received = "";
  error: NodeJS.ErrnoException | undefined;
  isClosed = false;

  constructor(address: SocketAddress) {
    this.socket = net.connect(address);
    this.socket.setEncoding("latin1");
    this.socket.on("data", (chunk: string) => (this.received += chunk));
    this.socket.on("error", (error) => (this.error = error));
    this.socket.once("close", () => (this.isClosed = true));
    clients.add(this);
  }

  /** Resolves once the kernel has made the connection, which need not be accepted yet. */
  static async connect(address: SocketAddress): Promise<Client> {
    const client = new Client(address);
    await once(client.socket, "connect");
    return client;
  }

  get(path: string, headers = ""): this {
    return this.send(`GET ${path} HTTP/1.1\r\nHost: test\r\n${headers}\r\n`);
  }

  send(what: string): this {
    this.socket.write(what);
    return this;
  }

  /** Resolves once this text has come. */
  async until(part: string): Promise<void> {
    await vi.waitUntil(() => {
      if (this.received.includes(part)) return true;
      if (this.isClosed) throw new Error(`closed (${this.error?.code}) after ${this.received}`);
      return false;
    }, SOON);
  }

  /** Resolves once the connection has ended. @throws what ended it, such as a reset */
  async ended(): Promise<void> {
    await vi.waitUntil(() => this.isClosed, SOON);
    if (this.error) throw this.error;
  }
}

afterEach(async () => {
  for (const { socket } of clients) socket.destroy();
  clients.clear();
  const stopped = [...open].map((container) => container.stop(false));
  open.clear();
  await Promise.all(stopped);
  await vi.waitFor(() => expect(descendants()).toEqual([]), SOON);
  expect(scratchDirectories()).toEqual([]);
});
