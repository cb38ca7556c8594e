/**
 * Ends a server so that no client sees a reset. Its socket is shared, so what it does not accept any more waits for another
 * instance. What it has accepted is answered, and told to go by `Connection: close`. A kept-alive connection without a request
 * is the difficult case: a request may be on its way already, and would meet a closed connection. So it stays open for as long
 * as a client may believe that it does.
 *
 *   accepting ──drain──▶ answering, with `Connection: close` ──idle for long enough──▶ closed
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import net from "node:net";
import { monotonic } from "../../system/monotonic.js";

/** How often connections are looked at. */
const LOOK_MS = 50;
/** Without a timeout of its own, a connection is closed when it has been idle for so long: Node's default, which clients know. */
const IDLE_MS = 5000;
/** What is idle is closed, and the rest cut, this long before the container kills the instance. */
const RESERVE_MS = 500;

interface Connection {
  readonly socket: net.Socket;
  /** Requests without a complete response. */
  open: number;
  idleSince: number;
}

/** What `http.Server` adds, and `net.Server` lacks. */
interface HttpServer extends net.Server {
  readonly keepAliveTimeout: number;
  closeIdleConnections(): void;
}

export class Drain {
  readonly #server: net.Server;
  readonly #connections = new Map<net.Socket, Connection>();
  readonly #responses = new Set<ServerResponse>();
  readonly #sessions = new Set<{ close(): void }>();
  #isDraining = false;

  /** Follows the server's connections. Create it before the server listens. */
  constructor(server: net.Server) {
    this.#server = server;
    server.on("connection", (socket: net.Socket) => this.#add(socket));
    // HTTP/2: closing a session tells the client to open no more streams, and ends it after those it has.
    server.on(
      "session",
      (session: { close(): void; once(event: string, then: () => void): void }) => {
        this.#sessions.add(session);
        session.once("close", () => this.#sessions.delete(session));
        if (this.#isDraining) session.close();
      },
    );
    // Not on a server of HTTP/2, which would then answer streams by that event.
    if (!("closeIdleConnections" in server)) return;
    // First: the listener of the program may answer at once.
    server.prependListener("request", (request: IncomingMessage, response: ServerResponse) =>
      this.#follow(request, response),
    );
  }

  /** @param deadline - when this process is killed, on the monotonic clock */
  async finish(deadline: number): Promise<void> {
    this.#isDraining = true;
    const closed = new Promise<void>((resolve) => this.#stopAccepting(resolve));
    for (const response of this.#responses) closeAfter(response);
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

  #add(socket: net.Socket): void {
    this.#connections.set(socket, { socket, open: 0, idleSince: monotonic() });
    socket.once("close", () => this.#connections.delete(socket));
  }

  #follow(request: IncomingMessage, response: ServerResponse): void {
    // An HTTP/2 stream has no connection of its own; its session ends by itself.
    if (request.httpVersionMajor > 1) return;
    const connection = this.#connectionOf(request.socket);
    connection.open += 1;
    this.#responses.add(response);
    if (this.#isDraining) closeAfter(response);
    response.once("close", () => {
      this.#responses.delete(response);
      connection.open -= 1;
      connection.idleSince = monotonic();
    });
  }

  /** The connection of a TLS server is the socket within. */
  #connectionOf(socket: net.Socket): Connection {
    const raw = (socket as { _parent?: net.Socket | null })._parent ?? socket;
    const known = this.#connections.get(socket) ?? this.#connections.get(raw);
    if (known) return known;
    this.#add(socket);
    return this.#connections.get(socket)!;
  }

  #look(deadline: number): void {
    const now = monotonic();
    const isLast = now > deadline - RESERVE_MS;
    const { keepAliveTimeout } = this.#server as Partial<HttpServer>;
    if (keepAliveTimeout === undefined && !isLast) return;
    const patience = isLast ? 0 : Math.min(keepAliveTimeout || IDLE_MS, IDLE_MS);
    for (const { socket, open, idleSince } of this.#connections.values()) {
      if (open > 0 && !isLast) continue;
      if (now - idleSince >= patience) socket.destroySoon();
    }
  }
}

/** A response whose headers have been sent cannot say it: its connection is idle after it. */
function closeAfter(response: ServerResponse): void {
  if (!response.headersSent) response.shouldKeepAlive = false;
}
