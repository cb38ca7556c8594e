/**
 * The connections this process has made through `net` and `tls`, by whatever library: which of them wait for an answer to an HTTP
 * request, and which are only kept for the next one. Those can be closed: every HTTP client expects that of a server, and
 * connects anew. Of others nobody but their library knows what they are in the middle of.
 */
import net from "node:net";
import { monotonic } from "../../system/monotonic.js";

type ClientSocket = net.Socket & {
  /** Of one of an `http.Agent`: its request, or `null` while it waits for the next. */
  readonly _httpMessage?: object | null;
  /** Of TLS: it has not shaken hands yet. */
  readonly secureConnecting?: boolean;
  readonly _handle?: { readonly fd?: number } | null;
};

interface Connect {
  /** Of a Unix socket, whose peer the kernel does not name. */
  readonly path: string | undefined;
  readonly inPreload: boolean;
}

/** The next part of an answer that is on its way comes sooner. */
const STALLED_MS = 1000;

export class ClientSockets {
  readonly #sockets = new Set<WeakRef<ClientSocket>>();
  readonly #connects = new WeakMap<ClientSocket, Connect>();
  readonly #moved = new WeakMap<ClientSocket, { readonly bytes: number; readonly at: number }>();
  #isPreloading = false;
  readonly #stop: () => void;

  /** Watches from now on. Not by `diagnostics_channel`, which is not told of TLS. */
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

  /** What connects from now on does so in `preload`, or because of it. */
  preloading(): void {
    this.#isPreloading = true;
  }

  /** How this descriptor came to be, if it is one of a connection. */
  connectOf(fd: number): Connect | undefined {
    const socket = this.#open().find(({ _handle }) => _handle?.fd === fd);
    return socket && this.#connects.get(socket);
  }

  /** Whether an answer is on its way, or a connection. */
  get isAwaited(): boolean {
    return this.#open().some(
      (socket) =>
        socket.connecting ||
        socket.secureConnecting ||
        (isHttp(socket) && !isIdle(socket) && !this.#isStalled(socket)),
    );
  }

  /** It has given some answer, but no byte has moved for a while: a WebSocket, a stream of events, a body that nobody reads. */
  #isStalled(socket: ClientSocket): boolean {
    const bytes = socket.bytesRead + socket.bytesWritten;
    const now = monotonic();
    const last = this.#moved.get(socket);
    if (last?.bytes === bytes) return socket.bytesRead > 0 && now - last.at > STALLED_MS;
    this.#moved.set(socket, { bytes, at: now });
    return false;
  }

  /** Closes those that are only kept. Returns whether there were any: they are gone a turn of the event loop later. */
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

/** The arguments of `net.connect`, or of `connect` of a socket; Node hands them on in an array. */
function pathIn(argument: unknown): string | undefined {
  const options = Array.isArray(argument) ? (argument[0] as unknown) : argument;
  const path = typeof options === "string" ? options : (options as { path?: unknown } | null)?.path;
  return typeof path === "string" && path !== "" && Number.isNaN(Number(path)) ? path : undefined;
}

/** By what Node's agents and undici, which `fetch` is made of, leave on the sockets they use. */
function isHttp(socket: ClientSocket): boolean {
  return socket.listenerCount("agentRemove") > 0 || undiciIdle(socket) !== undefined;
}

function isIdle(socket: ClientSocket): boolean {
  return undiciIdle(socket) ?? socket._httpMessage === null;
}

/** undici notes there that the socket no longer keeps the program alive, which is so while it has no request on it. */
function undiciIdle(socket: ClientSocket): boolean | undefined {
  const mark = Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === "no ref",
  );
  return mark && (socket as unknown as Record<symbol, boolean>)[mark];
}
