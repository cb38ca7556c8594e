/**
 * Watches the connections of this process through `net` and `tls`, from any library: which await the answer to an HTTP
 * request, and which are idle, kept alive for the next one. Idle HTTP connections can be closed: every HTTP client
 * expects servers to do that, and reconnects. The state of any other connection is known only to its library.
 */
import net from "node:net";
import { monotonic } from "../../system/monotonic.js";

type ClientSocket = net.Socket & {
  /** On a socket of an `http.Agent`: the current request, or `null` while the socket is idle. */
  readonly _httpMessage?: object | null;
  /** On a TLS socket: the handshake has not finished. */
  readonly secureConnecting?: boolean;
  readonly _handle?: { readonly fd?: number } | null;
};

interface Connect {
  /** Path of a Unix socket: the kernel does not name the peer. */
  readonly path: string | undefined;
  readonly inPreload: boolean;
}

/** In an active response, the next bytes arrive sooner than this. */
const STALLED_MS = 1000;

export class ClientSockets {
  readonly #sockets = new Set<WeakRef<ClientSocket>>();
  readonly #connects = new WeakMap<ClientSocket, Connect>();
  readonly #moved = new WeakMap<ClientSocket, { readonly bytes: number; readonly at: number }>();
  #isPreloading = false;
  readonly #stop: () => void;

  /** Starts to watch. Replaces `connect`, because `diagnostics_channel` does not report TLS sockets. */
  constructor() {
    const { prototype } = net.Socket;
    const { connect } = prototype;
    const sockets = this.#sockets;
    const note = (socket: ClientSocket, path: string | undefined) => {
      sockets.add(new WeakRef(socket));
      this.#connects.set(socket, { path, inPreload: this.#isPreloading });
    };
    const watched = function (this: ClientSocket, ...args: unknown[]) {
      note(this, pathIn(args[0]));
      return Reflect.apply(connect, this, args) as ClientSocket;
    } as typeof connect;
    prototype.connect = watched;
    this.#stop = () => {
      if (prototype.connect === watched) prototype.connect = connect;
    };
  }

  /** Attributes all later connections to `preload`. */
  preloading(): void {
    this.#isPreloading = true;
  }

  /** Returns how the connection with this descriptor was made, if it is one. */
  connectOf(fd: number): Connect | undefined {
    const socket = this.#open().find(({ _handle }) => _handle?.fd === fd);
    return socket && this.#connects.get(socket);
  }

  /** Whether a response or a connection attempt is pending. */
  get isAwaited(): boolean {
    return this.#open().some(
      (socket) =>
        socket.connecting ||
        socket.secureConnecting ||
        (isHttp(socket) && !isIdle(socket) && !this.#isStalled(socket)),
    );
  }

  /** Whether bytes were received but none moved for STALLED_MS: a WebSocket, an event stream, an unread body. */
  #isStalled(socket: ClientSocket): boolean {
    const bytes = socket.bytesRead + socket.bytesWritten;
    const now = monotonic();
    const last = this.#moved.get(socket);
    if (last?.bytes === bytes) return socket.bytesRead > 0 && now - last.at > STALLED_MS;
    this.#moved.set(socket, { bytes, at: now });
    return false;
  }

  /** Closes idle HTTP connections. Returns whether there were any; they are closed one turn of the event loop later. */
  closeIdle(): boolean {
    const idle = this.#open().filter((socket) => isHttp(socket) && isIdle(socket));
    for (const socket of idle) socket.destroy();
    return idle.length > 0;
  }

  stop(): void {
    this.#stop();
    this.#sockets.clear();
  }

  #open(): ClientSocket[] {
    return [...this.#sockets].flatMap((ref) => {
      const socket = ref.deref();
      return socket && !socket.destroyed ? [socket] : [];
    });
  }
}

/** Returns the path in the first argument of `socket.connect`; `net.connect` passes all its arguments in one array. */
function pathIn(argument: unknown): string | undefined {
  const options = Array.isArray(argument) ? (argument[0] as unknown) : argument;
  const path = typeof options === "string" ? options : (options as { path?: unknown } | null)?.path;
  return typeof path === "string" && path !== "" && Number.isNaN(Number(path)) ? path : undefined;
}

/** Recognizes HTTP by the marks that Node's agents and undici, which implements `fetch`, leave on their sockets. */
function isHttp(socket: ClientSocket): boolean {
  return socket.listenerCount("agentRemove") > 0 || undiciIdle(socket) !== undefined;
}

function isIdle(socket: ClientSocket): boolean {
  return undiciIdle(socket) ?? socket._httpMessage === null;
}

/** undici sets this symbol to true while the socket has no request, and so does not keep the program alive. */
function undiciIdle(socket: ClientSocket): boolean | undefined {
  const mark = Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === "no ref",
  );
  return mark && (socket as unknown as Record<symbol, boolean>)[mark];
}
