/**
 * Ends a server so that no client sees a reset. Its socket is shared, so what it does not accept any more waits for another
 * instance. What it has accepted is answered, and told to go by `Connection: close`. A kept-alive connection without a request
 * is the difficult case: a request may be on its way already, and would meet a closed connection. So it stays open for as long
 * as a client may believe that it does.
 *
 *   accepting ──drain──▶ answering, with `Connection: close` ──idle for long enough──▶ closed
 */
import type { ServerResponse } from "node:http";
import net from "node:net";
import { monotonic } from "../../system/monotonic.js";
import { clearInterval, setInterval } from "../../system/timers.js";

/** How often connections are looked at. */
const LOOK_MS = 50;
/** Without a timeout of its own, a connection is closed when it has been idle for so long: Node's default, which clients know. */
const IDLE_MS = 5000;
/** What is idle is closed, and the rest cut, this long before the container kills the instance. */
const RESERVE_MS = 500;

type Closable = { close(): void; once(event: "close", then: () => void): void };

/** A connection of an HTTP server; of a TLS server, the socket inside. */
type HttpSocket = net.Socket & {
  /** The response that is being made, or of the request that is being read; `null` while the connection is idle. */
  readonly _httpMessage?: ServerResponse | null;
  readonly parser?: object | null;
};

/** When nothing had happened on a connection for the first time. */
interface Rest {
  readonly since: number;
  readonly bytes: number;
}

export class Drain {
  readonly #server: net.Server;
  readonly #isHttp: boolean;
  readonly #sockets = new Set<HttpSocket>();
  /** Connections of TLS: below those that are in `#sockets`, or in their handshake. */
  readonly #raw = new Set<net.Socket>();
  readonly #sessions = new Set<Closable>();
  readonly #rests = new WeakMap<HttpSocket, Rest>();
  #isDraining = false;

  /** Follows the server's connections, and costs nothing for a request. Create it before the server listens. */
  constructor(server: net.Server) {
    this.#server = server;
    // Not HTTP/2, whose sessions are told to end, and whose connections are closed by them.
    this.#isHttp = "closeIdleConnections" in server;
    const isTls = "setSecureContext" in server;
    server.on("connection", (socket: net.Socket) =>
      follow(socket, isTls ? this.#raw : this.#sockets),
    );
    server.on("secureConnection", (socket: net.Socket) => follow(socket, this.#sockets));
    server.on("session", (session: Closable) => {
      follow(session, this.#sessions);
      if (this.#isDraining) session.close();
    });
  }

  /** Responses under way. */
  get inFlight(): number {
    let count = 0;
    for (const { _httpMessage: response } of this.#sockets) if (response) count += 1;
    return count;
  }

  /** @param deadline - when this process is killed, on the monotonic clock */
  async finish(deadline: number): Promise<void> {
    this.#isDraining = true;
    const closed = new Promise<void>((resolve) => this.#stopAccepting(resolve));
    // First: the listener of the program may answer at once.
    if (this.#isHttp)
      this.#server.prependListener("request", (_: unknown, response: ServerResponse) =>
        closeAfter(response),
      );
    for (const { _httpMessage: response } of this.#sockets) if (response) closeAfter(response);
    for (const session of this.#sessions) session.close();
    const look = setInterval(() => this.#look(deadline), LOOK_MS);
    await closed;
    clearInterval(look);
  }

  #stopAccepting(done: () => void): void {
    if (!this.#server.listening) return done();
    // Not its own `close`: that of an HTTP server also closes idle connections, with requests that are on their way.
    net.Server.prototype.close.call(this.#server, () => done());
  }

  #look(deadline: number): void {
    const isLast = monotonic() > deadline - RESERVE_MS;
    if (isLast) {
      for (const socket of [...this.#sockets, ...this.#raw]) socket.destroySoon();
      return;
    }
    if (!this.#isHttp) return;
    const { keepAliveTimeout } = this.#server as unknown as { readonly keepAliveTimeout: number };
    const patience = Math.min(keepAliveTimeout || IDLE_MS, IDLE_MS);
    for (const socket of this.#sockets) if (this.#restOf(socket) >= patience) socket.destroySoon();
  }

  /** Returns how long nothing has happened on the connection, in ms. */
  #restOf(socket: HttpSocket): number {
    const now = monotonic();
    const bytes = socket.bytesRead;
    const rest = this.#rests.get(socket);
    // Without a parser it is not of HTTP any more: a WebSocket, a tunnel. It may rest as long as it likes.
    const isIdle = socket.parser && !socket._httpMessage && bytes === (rest?.bytes ?? bytes);
    if (isIdle && rest) return now - rest.since;
    this.#rests.set(socket, { since: now, bytes });
    return 0;
  }
}

function follow<Each extends { once(event: "close", then: () => void): void }>(
  each: Each,
  all: Set<Each>,
): void {
  all.add(each);
  each.once("close", () => all.delete(each));
}

/** A response whose headers have been sent cannot say it: its connection is idle after it. */
function closeAfter(response: ServerResponse): void {
  if (!response.headersSent) response.shouldKeepAlive = false;
}
